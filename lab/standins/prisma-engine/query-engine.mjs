#!/usr/bin/node
// Prisma's query engine for prisma-client-py. See README.md for what it stands in for.
import { createAdapter, createPool } from './src/database.mjs';
import { connectionFrom } from './src/connection.mjs';
import { parseModels } from './src/datamodel.mjs';
import { QueryEngine } from './src/engine.mjs';
import { log } from './src/log.mjs';
import { COMMIT, readOptions } from './src/options.mjs';
import { createServer } from './src/server.mjs';

const PARENT_CHECK_MILLISECONDS = 2000;
const PARENT = process.ppid; // asked first: a parent that ends while the engine loads must be missed too
const CLOSING_MILLISECONDS = 300;
const PANIC_EXIT = 101; // as a Rust program exits; the client then starts a new engine

function panic(error) {
  log('ERROR', 'engine panic, ending so that the client starts a new one', { error: String(error?.stack ?? error) });
  process.exit(PANIC_EXIT);
}

function endOnPanic(error) {
  if (error instanceof WebAssembly.RuntimeError) panic(error);
  log('ERROR', 'unexpected error', { error: String(error?.stack ?? error) });
}

async function main() {
  const options = readOptions(process.argv.slice(2), process.env);
  if (options.version) {
    console.log(`query-engine ${COMMIT}`);
    return;
  }
  process.title = 'query-engine'; // LiteLLM looks for this name and restarts what it no longer finds
  const connection = connectionFrom(options.databaseUrl);
  const pool = createPool(connection);
  const engine = await QueryEngine.start({
    datamodel: options.datamodel,
    models: parseModels(options.datamodel),
    adapter: createAdapter(pool, connection.schema),
    connection,
    pool,
    slowMilliseconds: options.slowMilliseconds,
    onPanic: panic,
  });
  const server = createServer(engine, pool);
  server.listen(options.port, options.host, () => log('INFO', `listening on http://${options.host}:${options.port}`));

  const stop = async () => {
    server.close();
    await Promise.race([pool.end(), new Promise((resolve) => setTimeout(resolve, CLOSING_MILLISECONDS))]).catch(() => {});
    process.exit(0);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  // An engine whose parent was killed would keep its connections for ever.
  setInterval(() => process.ppid !== PARENT && stop(), PARENT_CHECK_MILLISECONDS).unref();
}

process.on('uncaughtException', endOnPanic);
process.on('unhandledRejection', endOnPanic);
try {
  await main();
} catch (error) {
  log('ERROR', String(error?.message ?? error));
  process.exit(1);
}
