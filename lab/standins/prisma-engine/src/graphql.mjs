// The part of GraphQL that prisma-client-py writes: one root field, arguments, nested selections, no variables.
const NAME = /[_A-Za-z0-9]+/y;
const NUMBER = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const BLANK = /[\s,]*/y;
const STRING = /"(?:[^"\\]|\\.)*"/y;
const INTEGER = /^-?\d+$/;
const KEYWORDS = new Map([['true', true], ['false', false], ['null', null]]);

/**
 * The root field of a query or mutation: `{ name, alias, arguments, selection }`, in the shapes of Prisma's JSON protocol.
 *
 * @throws {SyntaxError} the text is no such query; the message says where.
 */
export function parseGraphql(text) {
  return new Parser(text).document();
}

class Parser {
  constructor(text) {
    this.text = text;
    this.position = 0;
  }

  document() {
    if (this.peek() !== '{') this.name(); // query or mutation
    this.expect('{');
    const field = this.field();
    this.expect('}');
    if (this.peek() !== undefined) this.fail('the end');
    return field;
  }

  field() {
    let name = this.name();
    let alias;
    if (this.take(':')) {
      alias = name;
      name = this.name();
    }
    const field = { name, alias };
    if (this.peek() === '(') field.arguments = this.arguments();
    if (this.peek() === '{') field.selection = this.selection();
    return field;
  }

  arguments() {
    this.expect('(');
    return this.pairs(')');
  }

  selection() {
    const selection = {};
    this.expect('{');
    while (!this.take('}')) {
      const field = this.field();
      const nested = field.arguments || field.selection;
      selection[field.name] = nested
        ? { ...(field.arguments && { arguments: field.arguments }), selection: field.selection ?? {} }
        : true;
    }
    return selection;
  }

  value() {
    const first = this.peek();
    if (first === '"') return this.string();
    if (this.take('{')) return this.pairs('}');
    if (this.take('[')) return this.list();
    if (first === '-' || (first >= '0' && first <= '9')) return this.number();
    const word = this.name();
    return KEYWORDS.has(word) ? KEYWORDS.get(word) : word; // a word is an enumeration's value
  }

  pairs(end) {
    const object = {};
    while (!this.take(end)) {
      const name = this.name();
      this.expect(':');
      object[name] = this.value();
    }
    return object;
  }

  list() {
    const items = [];
    while (!this.take(']')) items.push(this.value());
    return items;
  }

  string() {
    const text = this.match(STRING) ?? this.fail('a string');
    try {
      return JSON.parse(text);
    } catch {
      return this.fail('a string with valid escapes');
    }
  }

  number() {
    const text = this.match(NUMBER) ?? this.fail('a number');
    const value = Number(text);
    // beyond 2^53 a JavaScript number would lose digits
    return INTEGER.test(text) && !Number.isSafeInteger(value) ? { $type: 'BigInt', value: text } : value;
  }

  name() {
    this.match(BLANK);
    return this.match(NAME) ?? this.fail('a name');
  }

  peek() {
    this.match(BLANK);
    return this.text[this.position];
  }

  take(character) {
    if (this.peek() !== character) return false;
    this.position += 1;
    return true;
  }

  expect(character) {
    if (!this.take(character)) this.fail(character);
  }

  match(pattern) {
    pattern.lastIndex = this.position;
    const found = pattern.exec(this.text);
    if (!found) return undefined;
    this.position = pattern.lastIndex;
    return found[0];
  }

  fail(expected) {
    throw new SyntaxError(`GraphQL: expected ${expected} at character ${this.position}`);
  }
}
