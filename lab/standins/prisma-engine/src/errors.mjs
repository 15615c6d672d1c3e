// Errors of the database driver, in the words and codes of the native engine: the client decides by them whether to retry.
const EXTERNAL = 'P2036'; // "error in the driver, number N"
const UNREACHABLE = new Set(['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ETIMEDOUT', 'ENOENT', '57P03']);
const CLOSED = new Set(['ECONNRESET', 'EPIPE', '57P01', '57P02']);
const KEPT_ERRORS = 1000;

/** Errors that the driver met, by the number under which the engine speaks of them; old ones are forgotten. */
export class DriverErrors {
  #errors = new Map();
  #next = 0;

  remember(error) {
    const id = this.#next++;
    this.#errors.set(id, error);
    this.#errors.delete(id - KEPT_ERRORS);
    return id;
  }

  take(id) {
    const error = this.#errors.get(id);
    this.#errors.delete(id);
    return error;
  }
}

/**
 * An error of the engine with the driver's error in it made plain.
 *
 * @param error  `{ error, user_facing_error }` as in query answers, or the inner object alone as for transactions.
 */
export function explain(error, driverErrors, connection, pool) {
  const facing = error?.user_facing_error ?? error;
  const known =
    facing?.error_code === EXTERNAL && facing.meta?.id !== undefined
      ? fromDriver(driverErrors.take(Number(facing.meta.id)), connection, pool)
      : fromText(`${error?.error ?? ''} ${facing?.message ?? ''}`, connection);
  if (!known) return error;
  const inner = { is_panic: false, message: known.message, meta: known.meta, error_code: known.code };
  return error?.user_facing_error ? { ...error, error: known.message, user_facing_error: inner } : inner;
}

function fromDriver(cause, connection, pool) {
  const text = String(cause?.message ?? cause);
  const timedOut = /timeout exceeded when trying to connect/i.test(text);
  if (timedOut && pool.totalCount >= pool.options.max) return poolTimeout(pool.options);
  if (timedOut || UNREACHABLE.has(cause?.code)) return unreachable(connection);
  if (CLOSED.has(cause?.code) || /terminated|not queryable|closed/i.test(text)) return closed();
  const code = String(cause?.code ?? 'N/A');
  return { code: 'P2010', message: `Raw query failed. Code: \`${code}\`. Message: \`${text}\``, meta: { code, message: text } };
}

function fromText(text, connection) {
  if (/terminating connection|the database system is shutting/.test(text)) return closed();
  if (/the database system is (?:starting|in recovery)/.test(text)) return unreachable(connection);
  return null;
}

function poolTimeout(options) {
  const timeout = options.connectionTimeoutMillis / 1000;
  const limits = `Current connection pool timeout: ${timeout}, connection limit: ${options.max}`;
  return {
    code: 'P2024',
    message: `Timed out fetching a new connection from the connection pool. (${limits})`,
    meta: { connection_limit: options.max, timeout },
  };
}

function unreachable({ host, port }) {
  const where = `\`${host}\`:\`${port}\``;
  return {
    code: 'P1001',
    message: `Can't reach database server at ${where}\n\nPlease make sure your database server is running at ${where}.`,
    meta: { database_host: host, database_port: port },
  };
}

function closed() {
  return { code: 'P1017', message: 'Server has closed the connection.', meta: {} };
}
