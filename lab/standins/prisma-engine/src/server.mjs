// The native engine's HTTP interface.
import http from 'node:http';
import { log } from './log.mjs';
import { COMMIT, ENGINE_VERSION } from './options.mjs';

const TRANSACTION = /^\/transaction\/(?:(start)|([^/]+)\/(commit|rollback))$/;
const JSON_TYPE = 'application/json';

export function createServer(engine, pool) {
  const server = http.createServer(async (request, response) => {
    try {
      send(response, await answer(engine, pool, request, await read(request)));
    } catch (error) {
      log('ERROR', String(error?.stack ?? error));
      if (!response.headersSent) send(response, [500, { is_panic: false, message: String(error?.message ?? error) }]);
    }
  });
  // the client keeps idle connections: closing one just as it is used again would lose a query
  server.keepAliveTimeout = 0;
  return server;
}

async function read(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

function send(response, [status, body, type = JSON_TYPE]) {
  response.writeHead(status, { 'content-type': type });
  response.end(typeof body === 'string' ? body : JSON.stringify(body));
}

async function answer(engine, pool, request, body) {
  const url = new URL(request.url, 'http://engine');
  if (request.method === 'POST') {
    const transaction = TRANSACTION.exec(url.pathname);
    if (transaction?.[1]) return engine.startTransaction(body);
    if (transaction?.[3] === 'commit') return engine.commitTransaction(transaction[2]);
    if (transaction?.[3] === 'rollback') return engine.rollbackTransaction(transaction[2]);
    if (url.pathname === '/') return [200, await engine.query(body, request.headers['x-transaction-id'])];
  }
  if (url.pathname === '/status') return [200, { status: 'ok' }];
  if (url.pathname === '/server_info') return [200, { commit: COMMIT, version: ENGINE_VERSION, primary_connector: 'postgresql' }];
  if (url.pathname === '/metrics') return metrics(engine.statistics, pool, url.searchParams.get('format') === 'json');
  return [404, ''];
}

function metrics(statistics, pool, asJson) {
  const counters = {
    prisma_client_queries_total: statistics.queries,
    prisma_datasource_queries_total: statistics.queries,
    prisma_pool_connections_open: pool.totalCount,
  };
  const gauges = {
    prisma_client_queries_active: statistics.active,
    prisma_client_queries_wait: pool.waitingCount,
    prisma_pool_connections_busy: pool.totalCount - pool.idleCount,
    prisma_pool_connections_idle: pool.idleCount,
  };
  if (asJson) {
    const list = (values) => Object.entries(values).map(([key, value]) => ({ key, labels: {}, value, description: '' }));
    return [200, { counters: list(counters), gauges: list(gauges), histograms: [] }];
  }
  const lines = (values, type) => Object.entries(values).map(([key, value]) => `# TYPE ${key} ${type}\n${key} ${value}\n`);
  return [200, [...lines(counters, 'counter'), ...lines(gauges, 'gauge')].join(''), 'text/plain'];
}
