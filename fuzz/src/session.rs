//! Targets that play sessions: the input becomes what one or both of the peers do.

use arbitrary::{Result, Unstructured};

use super::server::{Moods, Server, greeting, message};
use super::stage::{Behind, Move, play};

/// What clients of the `pump` say. What has `salaries` in it must never run.
const TEXTS: [&str; 18] = [
    "select * from public.a",
    "select * from finance.salaries",
    "insert into public.a values (1)",
    "prepare s as select * from public.a",
    "prepare s as select * from finance.salaries",
    "prepare t as insert into public.a values (1)",
    "execute s",
    "execute t",
    "execute nobody",
    "deallocate s",
    "deallocate all",
    "",
    "begin",
    "commit",
    "select * from salaries",
    "set search_path to finance",
    "select 1; select * from finance.salaries",
    "not sql",
];

const NAMES: [&str; 3] = ["", "s", "t"];

/// Moves that one input may lead to.
const MOVES_MAX: usize = 80;

/// Bytes of input that are sent in a session.
const BYTES_MAX: usize = 16 * 1024;

pub(crate) fn startup(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    play(pieces(bytes, *cut), obliging());
}

pub(crate) fn frontend(input: &[u8]) {
    let Some((cut, bytes)) = input.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let moves = [logged_in(), pieces(bytes, *cut)];
    play(moves.into_iter().flatten().collect(), obliging());
}

pub(crate) fn backend(input: &[u8]) {
    let [cut, client, bytes @ ..] = input else { return };
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let pieces = pieces(bytes, *cut).into_iter().filter_map(|step| match step {
        Move::Send(piece) => Some(piece),
        Move::Wait(_) => None,
    });
    let (logs_in_alone, requests) = (client % 8 == 7, requests(client % 8));
    let greeting = if logs_in_alone { Vec::new() } else { greeting() };
    let behind = Behind::Bytes { greeting: greeting.clone(), pieces: pieces.collect() };
    let read = play([logged_in(), vec![Move::Send(requests)]].into_iter().flatten().collect(), behind);
    if !logs_in_alone {
        nothing_is_made_up(&read, &[&greeting, bytes].concat());
    }
}

/// The client reads what the server has sent, as far as it goes, and then at most one word of ours.
fn nothing_is_made_up(read: &[u8], sent: &[u8]) {
    let same = read.iter().zip(sent).take_while(|(read, sent)| read == sent).count();
    // Our word may begin as the server's next one would have.
    let is_ours = |rest: &[u8]| rest.is_empty() || (rest.first() == Some(&b'E') && rest.windows(10).any(|part| part == b"tollhouse:"));
    assert!((0..=same).rev().any(|place| is_ours(&read[place..])), "not the server's: {:?}", String::from_utf8_lossy(&read[same..]));
}

/// What the client of the `backend` asks for; all of it is allowed.
fn requests(which: u8) -> Vec<u8> {
    let run = |text: &str| [parse("", text), bind("", ""), execute("")].concat();
    let sync = message(b'S', b"");
    match which {
        0 => query(TEXTS[0]),
        1 => [run(TEXTS[0]), sync].concat(),
        2 => [run(TEXTS[0]), run(TEXTS[2]), sync.clone(), run(TEXTS[0]), sync].concat(),
        3 => [query(TEXTS[3]), query("execute s"), query("deallocate s")].concat(),
        4 => [query(TEXTS[0]), message(b'd', b"data"), message(b'c', b""), query(TEXTS[2])].concat(),
        5 => [run(TEXTS[0]), message(b'd', b"data"), message(b'c', b""), sync].concat(),
        6 => [parse("s", TEXTS[0]), message(b'D', b"Ss\0"), message(b'C', b"Ss\0"), message(b'H', b""), sync].concat(),
        _ => Vec::new(),
    }
}

pub(crate) fn pump(input: &[u8]) {
    let mut choices = Unstructured::new(input);
    // An input that ends early is as good as a longer one: what it has led to is played.
    let Ok(moods) = choices.arbitrary_len::<u8>().and_then(|count| choices.bytes(count.min(32))) else { return };
    let behind = Behind::Server(Box::new(Server::new(Moods::new(moods))));
    let mut moves = logged_in();
    let mut gathered = Vec::new();
    while moves.len() < MOVES_MAX && !choices.is_empty() {
        match next(&mut choices) {
            Ok(Said::Message(bytes)) => gathered.extend(bytes),
            Ok(Said::Sent(turns)) => moves.extend([Move::Send(std::mem::take(&mut gathered)), Move::Wait(turns)]),
            Ok(Said::Half) => {
                let rest = gathered.split_off(gathered.len() / 2);
                moves.extend([Move::Send(std::mem::replace(&mut gathered, rest)), Move::Wait(1)]);
            }
            Err(_) => break,
        }
    }
    moves.push(Move::Send(gathered));
    play(moves, behind);
}

/// What a client does next.
enum Said {
    /// Says this, and does not send it yet.
    Message(Vec<u8>),
    /// Sends everything, and waits.
    Sent(usize),
    /// Sends half of it.
    Half,
}

fn next(choices: &mut Unstructured<'_>) -> Result<Said> {
    let bytes = match choices.int_in_range(0..=17)? {
        0 | 1 => query(choices.choose(&TEXTS)?),
        2 | 3 => parse(choices.choose(&NAMES)?, choices.choose(&TEXTS)?),
        4 | 5 => bind(choices.choose(&NAMES)?, choices.choose(&NAMES)?),
        6 | 7 => execute(choices.choose(&NAMES)?),
        8 => named(b'D', choices)?,
        9 => named(b'C', choices)?,
        10 | 11 => message(b'S', b""),
        12 => message(*choices.choose(b"Hcfd")?, b""),
        13 => message(b'd', b"data\n"),
        14 => message(b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
        15 => return Ok(Said::Sent(usize::from(choices.arbitrary::<u8>()? % 32))),
        16 => return Ok(Said::Half),
        // A client that breaks the rules.
        _ => {
            let count = choices.int_in_range(1..=8)?;
            choices.bytes(count.min(choices.len()))?.to_vec()
        }
    };
    Ok(Said::Message(bytes))
}

fn named(kind: u8, choices: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let what = *choices.choose(b"SP")?;
    Ok(message(kind, &[&[what], choices.choose(&NAMES)?.as_bytes(), b"\0"].concat()))
}

fn obliging() -> Behind {
    Behind::Server(Box::new(Server::new(Moods::new(&[]))))
}

/// The moves that send `bytes` in pieces of `size`, whole where that is 0.
fn pieces(bytes: &[u8], size: u8) -> Vec<Move> {
    let size = if size == 0 { bytes.len().max(1) } else { usize::from(size) };
    bytes.chunks(size).take(MOVES_MAX).flat_map(|piece| [Move::Send(piece.to_vec()), Move::Wait(2)]).collect()
}

/// The moves of a client that begins a session.
fn logged_in() -> Vec<Move> {
    let body = b"\0\x03\0\0user\0anybody\0database\0demo\0\0";
    let length = u32::try_from(body.len() + 4).unwrap();
    vec![Move::Send([&length.to_be_bytes()[..], body].concat()), Move::Wait(24)]
}

fn query(text: &str) -> Vec<u8> {
    message(b'Q', &string(text))
}

fn parse(name: &str, text: &str) -> Vec<u8> {
    message(b'P', &[string(name), string(text), vec![0, 0]].concat())
}

fn bind(portal: &str, statement: &str) -> Vec<u8> {
    message(b'B', &[string(portal), string(statement), vec![0; 6]].concat())
}

fn execute(portal: &str) -> Vec<u8> {
    message(b'E', &[string(portal), vec![0; 4]].concat())
}

fn string(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}
