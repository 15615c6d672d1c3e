// GraphQL requests to Prisma's JSON protocol, and its answers back: the WebAssembly build speaks only the latter.
import { tagArgument, tagSelection } from './datamodel.mjs';
import { parseGraphql } from './graphql.mjs';

const RAW = new Set(['queryRaw', 'executeRaw']);
const OPERATION =
  /^(findUnique|findFirst|findMany|createOne|createManyAndReturn|createMany|updateOne|updateMany|deleteOne|deleteMany|upsertOne|aggregate|groupBy)(\w+?)(OrThrow)?$/;

/**
 * The JSON-protocol query of a GraphQL text, and the names under which its answer must be returned.
 *
 * @returns {{query: object, name: string, alias: string}}
 * @throws {SyntaxError} the text is not a query, or names an operation that the engine does not have.
 */
export function toJsonProtocol(models, text) {
  const field = parseGraphql(text);
  const query = { arguments: field.arguments ?? {}, selection: field.selection ?? {} };
  const names = { name: field.name, alias: field.alias ?? field.name };
  if (RAW.has(field.name)) return { query: { action: field.name, query }, ...names };
  const operation = OPERATION.exec(field.name);
  if (!operation) throw new SyntaxError(`GraphQL: unknown operation ${field.name}`);
  const [, action, modelName, orThrow] = operation;
  for (const argument of Object.values(query.arguments)) tagArgument(models, argument, modelName);
  tagSelection(models, query.selection, modelName);
  return { query: { modelName, action: action + (orThrow ?? ''), query }, ...names };
}

/** The data of a JSON-protocol answer as GraphQL has it, under the alias that the client asked for. */
export function toGraphqlData(data, { name, alias }) {
  if (!data || !(name in data)) return data;
  const value = data[name];
  // rows of raw queries keep their types: the client converts them itself
  if (RAW.has(name)) return { [alias]: value?.$type === 'Raw' ? value.value : value };
  return { [alias]: untag(value) };
}

function untag(value) {
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(untag);
  if (value.$type !== undefined) return value.$type === 'Raw' ? value.value : untag(value.value);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, untag(item)]));
}
