// A session of pgx, in each of its ways to send a query.
//
// Usage: session HOST PORT [DATABASE [USER]]; prints `ok pgx PART` for each, ends with 1 at the first failure.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

const (
	refused = "select employee from finance.salaries"
	rows    = 100_000
)

// Over 5 MB.
var parameter = strings.Repeat("tollhouse", 600_000)

type part struct {
	name string
	run  func(context.Context, *pgx.Conn) error
}

var parts = []part{
	{"prepared statements", preparedStatements},
	{"every way to send a query", everyWay},
	{"batch", batch},
	{"copy in and out", copyInAndOut},
	{"cancel by context", cancelByContext},
	{"error in a transaction", errorInATransaction},
	{"refusal", refusal},
	{"refusal in a batch", refusalInABatch},
	{"large result", largeResult},
	{"large parameter", largeParameter},
	{"notification", notification},
}

func preparedStatements(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Prepare(ctx, "add two", "select $1::integer + 2"); err != nil {
		return err
	}
	for n := range 10 {
		if err := expectOne(ctx, conn, n+2, "add two", n); err != nil {
			return err
		}
	}
	return conn.Deallocate(ctx, "add two")
}

// Named and unnamed statements, described before or not, and the simple protocol.
func everyWay(ctx context.Context, conn *pgx.Conn) error {
	modes := []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	}
	for _, mode := range modes {
		for n := range 3 {
			if err := expectOne(ctx, conn, n*3, "select $1::integer * 3", mode, n); err != nil {
				return fmt.Errorf("%v: %w", mode, err)
			}
		}
		if _, err := conn.Exec(ctx, refused, mode); !isError(err, "42501") {
			return fmt.Errorf("%v: expected a refusal, got %v", mode, err)
		}
	}
	return nil
}

func batch(ctx context.Context, conn *pgx.Conn) error {
	var sum int
	batch := &pgx.Batch{}
	for n := range 500 {
		batch.Queue("select $1::integer", n).QueryRow(func(row pgx.Row) error {
			var got int
			err := row.Scan(&got)
			sum += got
			return err
		})
	}
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return err
	}
	return equal(sum, 124_750)
}

func copyInAndOut(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "create temporary table pgx_copy (id integer, note text)"); err != nil {
		return err
	}
	source := pgx.CopyFromSlice(20_000, func(n int) ([]any, error) { return []any{n, fmt.Sprintf("line %d", n)}, nil })
	copied, err := conn.CopyFrom(ctx, pgx.Identifier{"pgx_copy"}, []string{"id", "note"}, source)
	if err := errors.Join(err, equal(copied, int64(20_000))); err != nil {
		return err
	}
	var out bytes.Buffer
	tag, err := conn.PgConn().CopyTo(ctx, &out, "copy (select * from pgx_copy order by id) to stdout")
	if err := errors.Join(err, equal(tag.RowsAffected(), int64(20_000))); err != nil {
		return err
	}
	return equal(bytes.HasSuffix(out.Bytes(), []byte("\n19999\tline 19999\n")), true)
}

func cancelByContext(ctx context.Context, conn *pgx.Conn) error {
	started := time.Now()
	brief, end := context.WithTimeout(ctx, 500*time.Millisecond)
	defer end()
	_, err := conn.Exec(brief, "select pg_sleep(30)")
	if !isError(err, "57014") || time.Since(started) > 15*time.Second {
		return fmt.Errorf("expected a cancelled query, got %v after %v", err, time.Since(started))
	}
	return expectOne(ctx, conn, 1, "select 1")
}

func errorInATransaction(ctx context.Context, conn *pgx.Conn) error {
	return inTransaction(ctx, conn, "select 1 / 0", "22012")
}

// A refusal is an error like any other: the transaction fails, a savepoint brings it back.
func refusal(ctx context.Context, conn *pgx.Conn) error {
	return inTransaction(ctx, conn, refused, "42501")
}

func inTransaction(ctx context.Context, conn *pgx.Conn, failing, sqlstate string) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		savepoint, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := savepoint.Exec(ctx, failing); !isError(err, sqlstate) {
			return fmt.Errorf("expected %s, got %v", sqlstate, err)
		}
		if _, err := savepoint.Exec(ctx, "select 2"); !isError(err, "25P02") {
			return fmt.Errorf("expected a failed transaction, got %v", err)
		}
		if err := savepoint.Rollback(ctx); err != nil {
			return err
		}
		return expectOne(ctx, conn, 3, "select 3")
	})
}

// What follows the refusal in the batch is skipped, and what came before it in the same implicit transaction is undone.
func refusalInABatch(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "create temporary table pgx_batch (id integer)"); err != nil {
		return err
	}
	batch := &pgx.Batch{}
	batch.Queue("insert into pgx_batch values (1)")
	batch.Queue(refused)
	batch.Queue("insert into pgx_batch values (2)")
	if err := conn.SendBatch(ctx, batch).Close(); !isError(err, "42501") {
		return fmt.Errorf("expected a refusal, got %v", err)
	}
	return expectOne(ctx, conn, 0, "select count(*) from pgx_batch")
}

func largeResult(ctx context.Context, conn *pgx.Conn) error {
	result, err := conn.Query(ctx, "select n, repeat('x', 100) from generate_series(1, $1::integer) as n", rows)
	if err != nil {
		return err
	}
	var count, n int
	var note string
	_, err = pgx.ForEachRow(result, []any{&n, &note}, func() error { count++; return nil })
	return errors.Join(err, equal(count, rows), equal(n, rows), equal(note, strings.Repeat("x", 100)))
}

func largeParameter(ctx context.Context, conn *pgx.Conn) error {
	return expectOne(ctx, conn, len(parameter), "select length($1::text)", parameter)
}

func notification(ctx context.Context, conn *pgx.Conn) error {
	if _, err := conn.Exec(ctx, "listen pgx_channel; notify pgx_channel, 'heard'"); err != nil {
		return err
	}
	heard, err := conn.WaitForNotification(ctx)
	if err != nil {
		return err
	}
	return errors.Join(equal(heard.Payload, "heard"), equal(heard.PID, conn.PgConn().PID()))
}

func expectOne(ctx context.Context, conn *pgx.Conn, expected int, sql string, arguments ...any) error {
	var got int
	if err := conn.QueryRow(ctx, sql, arguments...).Scan(&got); err != nil {
		return err
	}
	return equal(got, expected)
}

func equal[T comparable](actual, expected T) error {
	if actual != expected {
		return fmt.Errorf("expected %v, got %v", expected, actual)
	}
	return nil
}

func isError(err error, sqlstate string) bool {
	var told *pgconn.PgError
	return errors.As(err, &told) && told.Code == sqlstate
}

func connect(ctx context.Context, arguments []string) (*pgx.Conn, error) {
	place := [4]string{2: "demo", 3: "dbt_runner"}
	copy(place[:], arguments)
	config, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s dbname=%s user=%s password=unused connect_timeout=10",
		place[0], place[1], place[2], place[3]))
	if err != nil {
		return nil, err
	}
	// A context that ends cancels the query, in place of the default: closing the connection.
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 20 * time.Second}
	}
	return pgx.ConnectConfig(ctx, config)
}

func session(arguments []string) error {
	ctx, end := context.WithTimeout(context.Background(), 2*time.Minute)
	defer end()
	conn, err := connect(ctx, arguments)
	if err != nil {
		return err
	}
	for _, part := range parts {
		if err := part.run(ctx, conn); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Println("ok pgx", part.name)
	}
	return conn.Close(ctx)
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "Usage: session HOST PORT [DATABASE [USER]]")
		os.Exit(1)
	}
	if err := session(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
