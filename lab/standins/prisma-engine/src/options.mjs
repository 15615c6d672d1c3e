// The native engine's command line and environment, as far as prisma-client-py uses them.
import fs from 'node:fs';

/** The engine version that the client was generated for; it compares this text. */
export const COMMIT = '393aa359c9ad4a4bb28630fb5613f9c281cde053';
export const ENGINE_VERSION = '5.17.0';
const DEFAULT_PORT = 4466;

/**
 * Options from the arguments and the environment.
 *
 * @throws {Error} no datamodel or no database URL is given, or the port is not one.
 */
export function readOptions(argv, env) {
  if (argv.includes('--version') || argv.includes('-V')) return { version: true };
  const datamodel = readDatamodel(argv, env);
  return {
    version: false,
    port: readPort(flag(argv, '-p', '--port') ?? env.PORT ?? DEFAULT_PORT),
    host: flag(argv, '-H', '--host') ?? '127.0.0.1',
    datamodel,
    databaseUrl: databaseUrl(datamodel, env),
    slowMilliseconds: Number(env.QUERY_ENGINE_SLOW_MS ?? 0),
  };
}

function flag(argv, ...names) {
  for (const name of names) {
    const index = argv.indexOf(name);
    if (index >= 0) return argv[index + 1];
  }
  return undefined;
}

function readPort(text) {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65535) throw new Error(`--port: ${text} is not a port`);
  return port;
}

function readDatamodel(argv, env) {
  if (env.PRISMA_DML) return Buffer.from(env.PRISMA_DML, 'base64').toString();
  const path = flag(argv, '--datamodel-path') ?? env.PRISMA_DML_PATH;
  if (!path) throw new Error('no datamodel: set PRISMA_DML_PATH to the schema file');
  return fs.readFileSync(path, 'utf8');
}

/** The URL that the client overrides, or the one that the datamodel names. */
export function databaseUrl(datamodel, env) {
  const overridden = env.OVERWRITE_DATASOURCES && JSON.parse(env.OVERWRITE_DATASOURCES)[0]?.url;
  if (overridden) return overridden;
  const source = /datasource\s+\w+\s*\{[^}]*?\burl\s*=\s*(?:env\("([^"]+)"\)|"([^"]+)")/s.exec(datamodel);
  const url = source?.[1] ? env[source[1]] : source?.[2];
  if (!url) throw new Error(`no database URL: set ${source?.[1] ?? 'OVERWRITE_DATASOURCES'}`);
  return url;
}
