//! A session of tokio-postgres, which names its statements and binds its portals itself.
//!
//! Usage: session HOST PORT [DATABASE [USER]]; prints `ok tokio-postgres PART` for each, ends with 1 at the first failure.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

use std::error::Error;
use std::fmt::Debug;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt, TryStreamExt, future};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

type Outcome = Result<(), Box<dyn Error>>;

const REFUSED: &str = "select employee from finance.salaries";
const ROWS: i32 = 100_000;
/// 9 bytes each, so over 5 MB.
const PARAMETER_REPEATS: usize = 600_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let ended = match arguments.as_slice() {
        [host, port] => session(host, port, "demo", "dbt_runner").await,
        [host, port, database] => session(host, port, database, "dbt_runner").await,
        [host, port, database, user] => session(host, port, database, user).await,
        _ => Err("Usage: session HOST PORT [DATABASE [USER]]".into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn session(host: &str, port: &str, database: &str, user: &str) -> Outcome {
    let mut config = Config::new();
    config.host(host).port(port.parse()?).dbname(database).user(user).password("unused").connect_timeout(Duration::from_secs(10));
    let (mut client, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    report("prepared statements", prepared_statements(&client).await)?;
    report("pipeline", pipeline(&client).await)?;
    report("cursor", cursor(&mut client).await)?;
    report("copy in and out", copy_in_and_out(&client).await)?;
    report("cancel", cancel(&client).await)?;
    report("error in a transaction", in_transaction(&mut client, "select 1 / 0", &SqlState::DIVISION_BY_ZERO).await)?;
    report("refusal", in_transaction(&mut client, REFUSED, &SqlState::INSUFFICIENT_PRIVILEGE).await)?;
    report("refusal in a pipeline", refusal_in_a_pipeline(&client).await)?;
    report("large result", large_result(&client).await)?;
    report("large parameter", large_parameter(&client).await)?;
    drop(client);
    timeout(Duration::from_secs(10), connection).await???;
    Ok(())
}

fn report(part: &str, outcome: Outcome) -> Outcome {
    outcome.map_err(|error| format!("{part}: {error}"))?;
    println!("ok tokio-postgres {part}");
    Ok(())
}

async fn prepared_statements(client: &Client) -> Outcome {
    let statement = client.prepare("select $1::integer + 2").await?;
    for number in 0..10 {
        equal(client.query_one(&statement, &[&number]).await?.try_get(0)?, number + 2)?;
    }
    // Looks up a type that it does not know, with statements of its own.
    client.batch_execute("create type pg_temp.mood as enum ('calm', 'wild')").await?;
    let statement = client.prepare("select 'calm'::pg_temp.mood, $1::pg_temp.mood::text").await?;
    equal(statement.columns().first().map(|column| column.type_().name().to_owned()), Some("mood".to_owned()))
}

/// Requests that are sent before the first reply.
async fn pipeline(client: &Client) -> Outcome {
    let statement = client.prepare("select $1::integer").await?;
    let statement = &statement;
    let requests = (0..200).map(|number| async move { client.query_one(statement, &[&number]).await?.try_get::<_, i32>(0) });
    equal(future::try_join_all(requests).await?, (0..200).collect())
}

/// A portal that is executed a thousand rows at a time.
async fn cursor(client: &mut Client) -> Outcome {
    let transaction = client.transaction().await?;
    let portal = transaction.bind("select generate_series(1, $1::integer)", &[&10_000]).await?;
    let (mut total, mut rows) = (0, transaction.query_portal(&portal, 1000).await?);
    while !rows.is_empty() {
        for row in &rows {
            total += row.try_get::<_, i32>(0)?;
        }
        rows = transaction.query_portal(&portal, 1000).await?;
    }
    transaction.commit().await?;
    equal(total, 50_005_000)
}

async fn copy_in_and_out(client: &Client) -> Outcome {
    client.batch_execute("create temporary table rust_copy (id integer, note text)").await?;
    let lines: Vec<_> = (0..20_000).map(|number| format!("{number}\tline {number}\n")).collect();
    let sink = client.copy_in("copy rust_copy from stdin").await?;
    tokio::pin!(sink);
    for line in &lines {
        sink.feed(bytes::Bytes::copy_from_slice(line.as_bytes())).await?;
    }
    equal(sink.finish().await?, 20_000)?;
    let out = client.copy_out("copy (select * from rust_copy order by id) to stdout").await?;
    let out = out.try_fold(Vec::new(), async |mut whole, chunk| {
        whole.extend_from_slice(&chunk);
        Ok(whole)
    });
    equal(out.await? == lines.concat().as_bytes(), true)
}

async fn cancel(client: &Client) -> Outcome {
    let started = Instant::now();
    let token = client.cancel_token();
    let asked = async {
        sleep(Duration::from_millis(500)).await;
        token.cancel_query(NoTls).await
    };
    let (slept, asked) = future::join(client.batch_execute("select pg_sleep(30)"), asked).await;
    asked?;
    fails(slept, &SqlState::QUERY_CANCELED)?;
    equal(started.elapsed() < Duration::from_secs(15), true)?;
    equal(client.query_one("select 1", &[]).await?.try_get::<_, i32>(0)?, 1)
}

/// A refusal is an error like any other: the transaction fails, a savepoint brings it back.
async fn in_transaction(client: &mut Client, failing: &str, code: &SqlState) -> Outcome {
    let mut transaction = client.transaction().await?;
    let savepoint = transaction.transaction().await?;
    fails(savepoint.query(failing, &[]).await, code)?;
    fails(savepoint.query("select 2", &[]).await, &SqlState::IN_FAILED_SQL_TRANSACTION)?;
    savepoint.rollback().await?;
    equal(transaction.query_one("select 3", &[]).await?.try_get::<_, i32>(0)?, 3)?;
    Ok(transaction.commit().await?)
}

/// Each request has a Sync of its own, so only the refused one fails.
async fn refusal_in_a_pipeline(client: &Client) -> Outcome {
    let before = client.query_one("select 1", &[]);
    let after = client.query_one("select 2", &[]);
    let (before, refused, after) = future::join3(before, client.simple_query(REFUSED), after).await;
    fails(refused, &SqlState::INSUFFICIENT_PRIVILEGE)?;
    equal((before?.try_get::<_, i32>(0)?, after?.try_get::<_, i32>(0)?), (1, 2))
}

async fn large_result(client: &Client) -> Outcome {
    let sql = "select n, repeat('x', 100) from generate_series(1, $1::integer) as n";
    let rows = client.query_raw(sql, [ROWS]).await?;
    tokio::pin!(rows);
    let mut count = 0;
    while let Some(row) = rows.next().await.transpose()? {
        count += 1;
        equal((row.try_get(0)?, row.try_get::<_, &str>(1)?.len()), (count, 100))?;
    }
    equal(count, ROWS)
}

async fn large_parameter(client: &Client) -> Outcome {
    let parameter = "tollhouse".repeat(PARAMETER_REPEATS);
    let row = client.query_one("select length($1::text)", &[&parameter]).await?;
    equal(usize::try_from(row.try_get::<_, i32>(0)?)?, parameter.len())
}

fn equal<T: PartialEq + Debug>(actual: T, expected: T) -> Outcome {
    if actual == expected { Ok(()) } else { Err(format!("expected {expected:?}, got {actual:?}").into()) }
}

fn fails<T>(outcome: Result<T, tokio_postgres::Error>, code: &SqlState) -> Outcome {
    match outcome {
        Ok(_) => Err(format!("{} did not arrive", code.code()).into()),
        Err(error) if error.code() == Some(code) => Ok(()),
        Err(error) => Err(format!("expected {}, got {error:?}", code.code()).into()),
    }
}
