// One JSON object a line on standard error, in the form of the native engine's log.
export function log(level, message, fields = {}) {
  const line = { timestamp: new Date().toISOString(), level, target: 'query_engine', fields: { message, ...fields } };
  process.stderr.write(`${JSON.stringify(line)}\n`);
}
