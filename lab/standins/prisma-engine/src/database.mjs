// The pool of connections, and the adapter through which the engine uses it.
import { createRequire } from 'node:module';
import { DriverErrors } from './errors.mjs';
import { log } from './log.mjs';

const require = createRequire(import.meta.url);
const pg = require('pg');
const postgresArray = require('postgres-array');
const { PrismaPg } = require('@prisma/adapter-pg');

const TEXT = 25;
const NAME_ARRAY = 1003;
const TEXT_ARRAY = 1009;
const TIMESTAMP_ARRAY = 1115;
const TIMESTAMPTZ_ARRAY = 1185;
// Types that adapter-pg 5.17 refuses but raw queries return ("char", name, oid, xid, interval, regclass ...): shown as text.
const AS_TEXT = new Set([18, 19, 24, TEXT, 27, 28, 1186, 2205, 2206, 2278, 3220, 3614, 4089, 4096, 5069]);
const AS_OTHER = new Map([[NAME_ARRAY, TEXT_ARRAY], [TIMESTAMPTZ_ARRAY, TIMESTAMP_ARRAY]]);

for (const type of AS_TEXT) pg.types.setTypeParser(type, (value) => value);
pg.types.setTypeParser(NAME_ARRAY, pg.types.getTypeParser(TEXT_ARRAY));
// sessions are in UTC, so the zone can be cut off
pg.types.setTypeParser(TIMESTAMPTZ_ARRAY, (value) => postgresArray.parse(value, (item) => item.split('+')[0]));

export function createPool(connection) {
  const pool = new pg.Pool(connection.pool);
  pool.on('error', (error) => log('WARN', 'idle connection lost', { error: error.message }));
  // a connection that dies while it is used fails its query; without a listener it would end the process
  pool.on('connect', (client) => client.on('error', () => {}));
  return pool;
}

class TypedAdapter extends PrismaPg {
  async performIO(query) {
    const result = await super.performIO(query);
    for (const field of (result.ok && result.value.fields) || []) {
      field.dataTypeID = AS_TEXT.has(field.dataTypeID) ? TEXT : (AS_OTHER.get(field.dataTypeID) ?? field.dataTypeID);
    }
    return result;
  }
}

/** The adapter as the WebAssembly engine calls it: nothing throws, errors are numbers in `driverErrors`. */
export function createAdapter(pool, schema) {
  const driverErrors = new DriverErrors();
  const inner = new TypedAdapter(pool, { schema });
  const safe = (method) => async (...values) => {
    try {
      return await method(...values);
    } catch (error) {
      const failed = { ok: false, error: { kind: 'GenericJs', id: driverErrors.remember(error) } };
      return { ...failed, map: () => failed, flatMap: () => failed };
    }
  };
  const queryable = (target) => ({
    adapterName: target.adapterName,
    provider: target.provider,
    queryRaw: safe(target.queryRaw.bind(target)),
    executeRaw: safe(target.executeRaw.bind(target)),
  });
  const transaction = (started) => ({
    ...queryable(started),
    options: started.options,
    commit: safe(started.commit.bind(started)),
    rollback: safe(started.rollback.bind(started)),
  });
  const start = safe(inner.startTransaction.bind(inner));
  return {
    ...queryable(inner),
    driverErrors,
    getConnectionInfo: () => inner.getConnectionInfo(),
    startTransaction: async () => {
      const result = await start();
      return result.ok ? result.map(transaction) : result;
    },
  };
}
