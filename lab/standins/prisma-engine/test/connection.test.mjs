import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connectionFrom } from '../src/connection.mjs';
import { databaseUrl, readOptions } from '../src/options.mjs';
import { DriverErrors, explain } from '../src/errors.mjs';

const URL_TEXT = 'postgresql://user:p%40ss@db.example:6432/llm%20db';

test('a URL becomes settings, with its escapes undone and sessions in UTC', () => {
  const { pool, host, port } = connectionFrom(`${URL_TEXT}?connection_limit=7&pool_timeout=3&schema=tenants`);
  assert.deepEqual([host, port, pool.user, pool.password, pool.database], ['db.example', 6432, 'user', 'p@ss', 'llm db']);
  assert.deepEqual([pool.max, pool.connectionTimeoutMillis], [7, 3000]);
  assert.equal(pool.options, '-c TimeZone=UTC -c search_path=tenants');
});

test('TLS is 1.3 or none, and verified as asked', () => {
  assert.equal(connectionFrom(URL_TEXT).pool.ssl, undefined);
  assert.equal(connectionFrom(`${URL_TEXT}?sslmode=disable`).pool.ssl, undefined);
  const full = connectionFrom(`${URL_TEXT}?sslmode=verify-full`).pool.ssl;
  assert.deepEqual(full, { minVersion: 'TLSv1.3', rejectUnauthorized: true });
  assert.equal(typeof connectionFrom(`${URL_TEXT}?sslmode=verify-ca`).pool.ssl.checkServerIdentity, 'function');
  assert.equal(connectionFrom(`${URL_TEXT}?sslmode=require`).pool.ssl.rejectUnauthorized, false);
  assert.equal(connectionFrom(`${URL_TEXT}?sslmode=require&sslaccept=strict`).pool.ssl.rejectUnauthorized, true);
});

test('a wrong parameter is named, and the password is in no error', () => {
  for (const [parameters, name] of [
    ['sslmode=prefer', /sslmode: prefer/], ['connection_limit=many', /connection_limit/], ['pool_timeout=-1', /pool_timeout/],
  ]) {
    assert.throws(() => connectionFrom(`${URL_TEXT}?${parameters}`), (error) => name.test(error.message) && !error.message.includes('p@ss'));
  }
  assert.throws(() => connectionFrom('mysql://user:secret@host/db'), (error) => !error.message.includes('secret'));
});

test('the URL comes from the client, then from what the datamodel names', () => {
  const datamodel = 'datasource client {\n provider = "postgresql"\n url = env("DATABASE_URL")\n}';
  assert.equal(databaseUrl(datamodel, { DATABASE_URL: 'a' }), 'a');
  assert.equal(databaseUrl(datamodel, { DATABASE_URL: 'a', OVERWRITE_DATASOURCES: '[{"name":"client","url":"b"}]' }), 'b');
  assert.throws(() => databaseUrl(datamodel, {}), /set DATABASE_URL/);
  assert.throws(() => readOptions(['-p', '99999'], { PRISMA_DML: Buffer.from(datamodel).toString('base64'), DATABASE_URL: 'a' }), /--port/);
});

test('errors of the driver get the codes by which the client decides', () => {
  const pool = { totalCount: 1, options: { max: 5, connectionTimeoutMillis: 1000 } };
  const code = (cause, state = pool) => {
    const errors = new DriverErrors();
    const id = errors.remember(cause);
    const error = { error: 'x', user_facing_error: { error_code: 'P2036', meta: { id } } };
    return explain(error, errors, { host: 'h', port: 1 }, state).user_facing_error.error_code;
  };
  assert.equal(code({ code: 'ECONNREFUSED' }), 'P1001');
  assert.equal(code({ code: '57P01', message: 'terminating connection' }), 'P1017');
  assert.equal(code(new Error('Connection terminated unexpectedly')), 'P1017');
  assert.equal(code(new Error('timeout exceeded when trying to connect')), 'P1001');
  assert.equal(code(new Error('timeout exceeded when trying to connect'), { ...pool, totalCount: 5 }), 'P2024');
  assert.equal(code({ code: '23505', message: 'duplicate' }), 'P2010');
});
