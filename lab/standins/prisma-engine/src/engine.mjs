// The WebAssembly engine, behind the questions that the native engine answers.
import { webcrypto } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { explain } from './errors.mjs';
import { log } from './log.mjs';
import { toGraphqlData, toJsonProtocol } from './protocol.mjs';

const require = createRequire(import.meta.url);
const BINDINGS = '@prisma/query-engine-wasm/postgresql/query_engine_bg.js';
const NO_TRACE = '{}';
// The engine draws its random numbers from here and panics without; Node 18 does not have it there of itself.
globalThis.crypto ??= webcrypto;
const BAD_QUERY = 'P2009';
const NO_TRANSACTION = 'P2028';
// The engine panics on an id that is too short to be one of its own.
const SHORTEST_TRANSACTION_ID = 24;

export class QueryEngine {
  #engine;
  #setup;
  statistics = { queries: 0, active: 0 };

  constructor(engine, setup) {
    this.#engine = engine;
    this.#setup = setup;
  }

  /** Load the engine; the first query opens the first connection. */
  static async start(setup) {
    const bindings = await import(require.resolve(BINDINGS));
    const program = fs.readFileSync(path.join(path.dirname(require.resolve(BINDINGS)), 'query_engine_bg.wasm'));
    const { instance } = await WebAssembly.instantiate(program, { './query_engine_bg.js': bindings });
    bindings.__wbg_set_wasm(instance.exports);
    const options = { datamodel: setup.datamodel, logLevel: 'error', logQueries: false };
    const engine = new bindings.QueryEngine(options, (line) => log('ERROR', String(line)), setup.adapter);
    await engine.connect(NO_TRACE);
    return new QueryEngine(engine, setup);
  }

  /** Answer the body of a query request: `{ query }`, or `{ batch, transaction }`. */
  async query(body, transactionId) {
    if (transactionId !== undefined && !isTransactionId(transactionId)) return { errors: [unknownTransaction(transactionId)] };
    const started = performance.now();
    this.statistics.queries += 1;
    this.statistics.active += 1;
    try {
      const request = JSON.parse(body);
      return request.batch ? await this.#batch(request, transactionId) : await this.#single(request.query, transactionId);
    } catch (error) {
      this.#endOnPanic(error);
      return failure(error);
    } finally {
      this.statistics.active -= 1;
      this.#reportSlow(performance.now() - started);
    }
  }

  async #single(text, transactionId) {
    const asked = toJsonProtocol(this.#setup.models, text);
    return this.#answer(await this.#run(asked.query, transactionId), asked);
  }

  async #batch(request, transactionId) {
    const asked = request.batch.map((item) => toJsonProtocol(this.#setup.models, item.query));
    const transaction = request.transaction && { transaction: { isolationLevel: request.isolationLevel ?? null } };
    const result = await this.#run({ batch: asked.map((item) => item.query), ...transaction }, transactionId);
    if (result.errors) result.errors = result.errors.map((error) => this.#explain(error));
    if (result.batchResult) result.batchResult = result.batchResult.map((item, index) => this.#answer(item, asked[index]));
    return result;
  }

  async #run(query, transactionId) {
    return JSON.parse(await this.#engine.query(JSON.stringify(query), NO_TRACE, transactionId));
  }

  #answer(result, names) {
    if (result.errors) result.errors = result.errors.map((error) => this.#explain(error));
    if (result.data) result.data = toGraphqlData(result.data, names);
    return result;
  }

  /** Start a transaction: `[HTTP status, body]`. */
  startTransaction(body) {
    return this.#transaction(() => this.#engine.startTransaction(body, NO_TRACE));
  }

  commitTransaction(id) {
    return this.#end(id, () => this.#engine.commitTransaction(id, NO_TRACE));
  }

  rollbackTransaction(id) {
    return this.#end(id, () => this.#engine.rollbackTransaction(id, NO_TRACE));
  }

  #end(id, step) {
    return isTransactionId(id) ? this.#transaction(step) : [404, unknownTransaction(id).user_facing_error];
  }

  async #transaction(step) {
    try {
      const text = await step();
      const result = text ? JSON.parse(text) : {};
      return result.error_code || result.message ? this.#transactionError(result) : [200, result];
    } catch (error) {
      this.#endOnPanic(error);
      return this.#transactionError(parsedError(error));
    }
  }

  #transactionError(error) {
    const explained = this.#explain(error);
    const text = explained.message ?? '';
    if (/Unable to start/.test(text)) return [504, explained];
    if (/not found/i.test(text)) return [404, explained];
    if (/already closed|expired/i.test(text)) return [422, explained];
    return [500, explained];
  }

  #explain(error) {
    const { adapter, connection, pool } = this.#setup;
    return explain(error, adapter.driverErrors, connection, pool);
  }

  #endOnPanic(error) {
    if (error instanceof WebAssembly.RuntimeError) this.#setup.onPanic(error);
  }

  #reportSlow(milliseconds) {
    const limit = this.#setup.slowMilliseconds;
    // the query's text may hold what tenants sent: only its time is logged
    if (limit && milliseconds > limit) log('WARN', 'slow query', { milliseconds: Math.round(milliseconds) });
  }
}

function isTransactionId(text) {
  return text.length >= SHORTEST_TRANSACTION_ID && /^[0-9a-z-]+$/i.test(text);
}

function unknownTransaction(id) {
  const message = `Transaction API error: Transaction not found. Transaction ID '${id}' is invalid.`;
  return { error: message, user_facing_error: { is_panic: false, message, meta: { error: message }, error_code: NO_TRANSACTION } };
}

function failure(error) {
  const message = String(error?.message ?? error);
  const isQuery = error instanceof SyntaxError;
  if (!isQuery) log('ERROR', String(error?.stack ?? error));
  const facing = { is_panic: false, message, backtrace: null, meta: {}, error_code: isQuery ? BAD_QUERY : undefined };
  return { errors: [{ error: message, user_facing_error: facing }] };
}

function parsedError(error) {
  try {
    return JSON.parse(error.message);
  } catch {
    return { is_panic: false, message: String(error?.message ?? error) };
  }
}
