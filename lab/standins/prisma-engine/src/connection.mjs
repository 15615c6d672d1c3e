// A PostgreSQL URL with Prisma's and libpq's parameters, as settings of node-postgres.
import fs from 'node:fs';

const DEFAULTS = { connection_limit: '5', pool_timeout: '10', max_idle_connection_lifetime: '300', max_connection_lifetime: '0' };
const SSL_MODES = ['disable', 'require', 'verify-ca', 'verify-full'];

/**
 * Settings of the pool, and what error texts name.
 *
 * @throws {Error} a parameter is wrong; the text names it and never holds the password.
 */
export function connectionFrom(text) {
  const url = parseUrl(text);
  const parameters = url.searchParams;
  const seconds = (name) => number(name, parameters.get(name) ?? DEFAULTS[name]);
  const host = parameters.get('host') ?? url.hostname;
  const port = Number(url.port || 5432);
  const schema = parameters.get('schema') ?? 'public';
  return {
    host,
    port,
    schema,
    pool: {
      host,
      port,
      database: decodeURIComponent(url.pathname.slice(1)),
      user: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password) || undefined,
      max: number('connection_limit', parameters.get('connection_limit') ?? DEFAULTS.connection_limit),
      // node-postgres has one timer for connecting and for waiting until a connection is free
      connectionTimeoutMillis: 1000 * seconds('pool_timeout'),
      idleTimeoutMillis: 1000 * seconds('max_idle_connection_lifetime'),
      maxLifetimeSeconds: seconds('max_connection_lifetime'),
      options: sessionOptions(parameters, schema),
      keepAlive: true,
      application_name: parameters.get('application_name') ?? 'query-engine',
      ssl: tls(parameters),
    },
  };
}

function parseUrl(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    throw new Error('the database URL is not a URL: expected postgresql://USER:PASSWORD@HOST:5432/DATABASE');
  }
  if (!['postgresql:', 'postgres:'].includes(url.protocol)) {
    throw new Error(`the database URL begins with ${url.protocol}//: expected postgresql://`);
  }
  return url;
}

function number(name, text) {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new Error(`database URL, ${name}: ${text} is not a number of 0 or more`);
  return value;
}

function sessionOptions(parameters, schema) {
  // The engine reads time stamps without a zone: every session must be in UTC.
  const path = schema === 'public' ? null : `-c search_path=${schema}`;
  return [parameters.get('options'), '-c TimeZone=UTC', path].filter(Boolean).join(' ');
}

/** TLS 1.3 or none: a mode that would fall back to plain text is refused. */
function tls(parameters) {
  const mode = parameters.get('sslmode') ?? 'disable';
  if (!SSL_MODES.includes(mode)) {
    throw new Error(`database URL, sslmode: ${mode} is not supported; use one of ${SSL_MODES.join(', ')}`);
  }
  if (mode === 'disable') return undefined;
  const root = parameters.get('sslrootcert');
  return {
    minVersion: 'TLSv1.3',
    // without sslrootcert: what Node trusts, NODE_EXTRA_CA_CERTS included
    ...(root && { ca: fs.readFileSync(root, 'utf8') }),
    rejectUnauthorized: mode.startsWith('verify') || parameters.get('sslaccept') === 'strict',
    ...(mode === 'verify-ca' && { checkServerIdentity: () => undefined }),
  };
}
