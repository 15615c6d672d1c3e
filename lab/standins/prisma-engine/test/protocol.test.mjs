import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseModels } from '../src/datamodel.mjs';
import { toGraphqlData, toJsonProtocol } from '../src/protocol.mjs';

const MODELS = parseModels(`
model Team {
  id       String @id
  metadata Json   @default("{}")
  keys     Key[]
}
model Key {
  id      String  @id
  aliases Json?
  team    Team?   @relation(fields: [team_id], references: [id])
  team_id String?
}
`);
const document = { $type: 'Json', value: '{"a":1}' };

test('a Json field is tagged wherever it stands: data, nested create, upsert, lists', () => {
  const text = String.raw`mutation { result: upsertOneTeam(where: {id: "t"}, create: {id: "t", metadata: "{\"a\":1}",
    keys: {create: [{id: "k", aliases: "{\"a\":1}"}]}}, update: {metadata: {set: "{\"a\":1}"}}) { id } }`;
  const { query } = toJsonProtocol(MODELS, text);
  assert.equal(query.action, 'upsertOne');
  assert.equal(query.modelName, 'Team');
  const given = query.query.arguments;
  assert.deepEqual(given.create.metadata, document);
  assert.deepEqual(given.create.keys.create[0].aliases, document);
  assert.deepEqual(given.update.metadata.set, document);
  assert.equal(given.where.id, 't');
});

test('the text filters of a Json field stay text', () => {
  const text = String.raw`query { findManyTeam(where: {OR: [{metadata: {path: ["a"], equals: "1", string_contains: "x"}}]}) { id } }`;
  const filter = toJsonProtocol(MODELS, text).query.query.arguments.where.OR[0].metadata;
  assert.deepEqual(filter, { path: ['a'], equals: { $type: 'Json', value: '1' }, string_contains: 'x' });
});

test('arguments of nested selections are tagged too', () => {
  const text = String.raw`query { findManyTeam { id keys(where: {aliases: {equals: "{\"a\":1}"}}) { id } } }`;
  assert.deepEqual(toJsonProtocol(MODELS, text).query.query.selection.keys.arguments.where.aliases.equals, document);
});

test('every operation of the client is known by its action and model', () => {
  for (const [name, action] of [
    ['findUniqueKey', 'findUnique'], ['findUniqueKeyOrThrow', 'findUniqueOrThrow'], ['findFirstKey', 'findFirst'],
    ['createManyAndReturnKey', 'createManyAndReturn'], ['createManyKey', 'createMany'], ['deleteManyKey', 'deleteMany'],
    ['aggregateKey', 'aggregate'], ['groupByKey', 'groupBy'],
  ]) {
    const { query } = toJsonProtocol(MODELS, `{ ${name} { id } }`);
    assert.deepEqual([query.action, query.modelName], [action, 'Key']);
  }
  assert.throws(() => toJsonProtocol(MODELS, '{ dropEverything { id } }'), /unknown operation/);
});

test('an answer loses its tags and gets the alias that was asked for', () => {
  const data = { findManyTeam: [{ id: 't', metadata: { $type: 'Json', value: '{}' }, at: { $type: 'DateTime', value: 'x' } }] };
  assert.deepEqual(toGraphqlData(data, { name: 'findManyTeam', alias: 'result' }), {
    result: [{ id: 't', metadata: '{}', at: 'x' }],
  });
});

test('rows of a raw query keep their types', () => {
  const rows = [{ n: { prisma__type: 'bigint', prisma__value: '1' } }];
  const data = { queryRaw: { $type: 'Raw', value: rows } };
  assert.deepEqual(toGraphqlData(data, { name: 'queryRaw', alias: 'result' }), { result: rows });
});
