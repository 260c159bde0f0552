#!/usr/bin/env node
// A session of node-postgres, with its cursors and COPY streams.
// Usage: session.js HOST PORT [DATABASE [USER]]; prints `ok node PART` for each, ends with 1 at the first failure.
'use strict';

const assert = require('node:assert/strict');
const { Readable } = require('node:stream');
const { pipeline } = require('node:stream/promises');
const { setTimeout: sleep } = require('node:timers/promises');
const pg = require('pg');
const Cursor = require('pg-cursor');
const { from: copyFrom, to: copyTo } = require('pg-copy-streams');

const REFUSED = 'select * from finance.salaries';
const ROWS = 100_000;
const PARAMETER = 'tollhouse'.repeat(600_000); // over 5 MB

const [host, port, database = 'demo', user = 'dbt_runner'] = process.argv.slice(2);
if (port === undefined) {
  console.error('Usage: session.js HOST PORT [DATABASE [USER]]');
  process.exit(1);
}
// pg deprecates what its own cancel() needs of a caller.
process.noDeprecation = true;
const place = { host, port: Number(port), database, user, password: 'unused', connectionTimeoutMillis: 10_000 };

async function preparedStatements(client) {
  for (let n = 0; n < 10; n++) {
    const named = await client.query({ name: 'add two', text: 'select $1::integer + 2 as sum', values: [n] });
    assert.deepEqual(named.rows, [{ sum: n + 2 }]);
    const unnamed = await client.query('select $1::integer * 2 as product', [n]);
    assert.deepEqual(unnamed.rows, [{ product: n * 2 }]);
  }
}

async function severalStatementsInAString(client) {
  const results = await client.query('select 1 as one; select 2 as two');
  assert.deepEqual(results.map((result) => result.rows), [[{ one: 1 }], [{ two: 2 }]]);
}

// A portal that is executed a thousand rows at a time, and closed before its end.
async function cursor(client) {
  const rows = client.query(new Cursor('select generate_series(1, $1::integer) as n', [10_000]));
  let total = 0;
  for (let batch = 0; batch < 5; batch++) {
    for (const { n } of await rows.read(1000)) total += n;
  }
  assert.equal(total, 12_502_500);
  await rows.close();
}

async function copyInAndOut(client) {
  await client.query('create temporary table node_copy (id integer, note text)');
  const lines = Array.from({ length: 20_000 }, (_, n) => `${n}\tline ${n}\n`).join('');
  await pipeline(Readable.from([lines]), client.query(copyFrom('copy node_copy from stdin')));
  const out = [];
  for await (const chunk of client.query(copyTo('copy (select * from node_copy order by id) to stdout'))) out.push(chunk);
  assert.equal(Buffer.concat(out).toString(), lines);
}

async function cancel(client) {
  const started = Date.now();
  const query = new pg.Query('select pg_sleep(30)');
  const failed = new Promise((resolve) => query.on('error', resolve));
  client.query(query);
  await sleep(500);
  new pg.Client(place).cancel(client, query);
  assert.equal((await failed).code, '57014');
  assert.ok(Date.now() - started < 15_000, 'the query ran to its end');
  assert.deepEqual((await client.query('select 1 as one')).rows, [{ one: 1 }]);
}

async function errorInATransaction(client) {
  await client.query('begin');
  await client.query('savepoint before');
  await assert.rejects(client.query('select 1 / $1::integer', [0]), { code: '22012' });
  await assert.rejects(client.query('select 2'), { code: '25P02' });
  await client.query('rollback to savepoint before');
  assert.deepEqual((await client.query('select 3 as three')).rows, [{ three: 3 }]);
  await client.query('commit');
}

// A refusal is an error like any other: the transaction fails, a savepoint brings it back.
async function refusal(client) {
  const ways = [REFUSED, { name: 'refused', text: REFUSED }, `select 1; ${REFUSED}`];
  await client.query('begin');
  for (const way of ways) {
    await client.query('savepoint before');
    await assert.rejects(client.query(way), { code: '42501', severity: 'ERROR' });
    await assert.rejects(client.query('select 2'), { code: '25P02' });
    await client.query('rollback to savepoint before');
  }
  await client.query('commit');
  await assert.rejects(client.query(new Cursor(REFUSED)).read(10), { code: '42501' });
  assert.deepEqual((await client.query('select 3 as three')).rows, [{ three: 3 }]);
}

async function largeResult(client) {
  const { rows } = await client.query("select n, repeat('x', 100) as note from generate_series(1, $1::integer) as n", [ROWS]);
  assert.deepEqual([rows.length, rows.at(-1)], [ROWS, { n: ROWS, note: 'x'.repeat(100) }]);
}

async function largeParameter(client) {
  const { rows } = await client.query('select length($1::text) as length, $2::text as last', [PARAMETER, 'end']);
  assert.deepEqual(rows, [{ length: PARAMETER.length, last: 'end' }]);
}

async function notification(client) {
  const heard = new Promise((resolve) => client.once('notification', resolve));
  await client.query('listen node_channel');
  await client.query("notify node_channel, 'heard'");
  const { payload, processId } = await heard;
  assert.deepEqual([payload, processId], ['heard', client.processID]);
}

const PARTS = [
  preparedStatements,
  severalStatementsInAString,
  cursor,
  copyInAndOut,
  cancel,
  errorInATransaction,
  refusal,
  largeResult,
  largeParameter,
  notification,
];

async function main() {
  const client = new pg.Client(place);
  await client.connect();
  for (const part of PARTS) {
    await part(client);
    console.log('ok node', part.name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`));
  }
  await client.end();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
