import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGraphql } from '../src/graphql.mjs';

test('a query gives its root field, alias, arguments and nested selection', () => {
  assert.deepEqual(parseGraphql('query { result: findManyKey(take: 2, where: { name: "a" }) { id team(take: 1) { id } tags } }'), {
    name: 'findManyKey',
    alias: 'result',
    arguments: { take: 2, where: { name: 'a' } },
    selection: { id: true, team: { arguments: { take: 1 }, selection: { id: true } }, tags: true },
  });
});

test('values keep their types', () => {
  const text = '{ f(a: true, b: false, c: null, d: -1.5e3, e: [1, 2], f: {g: asc}, h: [], i: {}) }';
  assert.deepEqual(parseGraphql(text).arguments, {
    a: true, b: false, c: null, d: -1500, e: [1, 2], f: { g: 'asc' }, h: [], i: {},
  });
});

test('an integer beyond 2^53 loses no digit', () => {
  assert.deepEqual(parseGraphql('{ f(a: 9007199254740993) }').arguments.a, { $type: 'BigInt', value: '9007199254740993' });
  assert.equal(parseGraphql('{ f(a: 9007199254740991) }').arguments.a, 9007199254740991);
});

test('strings keep escapes, quotes, braces and every script', () => {
  for (const value of ['a "quoted" word', 'back\\slash', '{ not: structure }', 'line\nbreak\ttab', 'naïve 模型 😀', '\u0007', '']) {
    assert.equal(parseGraphql(`{ f(a: ${JSON.stringify(value)}) }`).arguments.a, value);
  }
});

test('any JSON value that is written as GraphQL is read back equal', () => {
  const write = (value) => {
    if (Array.isArray(value)) return `[${value.map(write).join(', ')}]`;
    if (value && typeof value === 'object') return `{${Object.entries(value).map(([k, v]) => `${k}: ${write(v)}`).join(' ')}}`;
    return JSON.stringify(value);
  };
  const random = generator(7);
  for (let round = 0; round < 500; round += 1) {
    const value = randomValue(random, 4);
    assert.deepEqual(parseGraphql(`mutation { createOneX(data: ${write(value)}) { id } }`).arguments.data, value);
  }
});

test('text that is no query is refused with its place', () => {
  for (const text of ['', '{', '{ f(', '{ f(a: ) }', '{ f(a: "open) }', '{ f } g', '{ f(a: "\\x") }', '{ f { } ', '{ f(a: [1 }) }']) {
    assert.throws(() => parseGraphql(text), /^SyntaxError: GraphQL: expected .+ at character \d+$/, text);
  }
});

test('an unfinished text never hangs', () => {
  const whole = 'query { result: findManyKey(take: 2, where: { name: "a", in: [1, 2] }) { id team { id } } }';
  for (let length = 0; length < whole.length; length += 1) assert.throws(() => parseGraphql(whole.slice(0, length)), SyntaxError);
});

function generator(seed) {
  let state = seed;
  return (limit) => {
    state = (state * 1103515245 + 12345) % 2147483648;
    return Math.floor((state / 2147483648) * limit);
  };
}

function randomValue(random, depth) {
  const kind = random(depth > 0 ? 7 : 5);
  if (kind === 0) return null;
  if (kind === 1) return random(2) === 1;
  if (kind === 2) return random(2_000_000) - 1_000_000;
  if (kind === 3) return random(1000) / 8;
  if (kind === 4) return Array.from({ length: random(8) }, () => String.fromCharCode(32 + random(600))).join('');
  if (kind === 5) return Array.from({ length: random(4) }, () => randomValue(random, depth - 1));
  return Object.fromEntries(Array.from({ length: random(4) }, (_, index) => [`k${index}`, randomValue(random, depth - 1)]));
}
