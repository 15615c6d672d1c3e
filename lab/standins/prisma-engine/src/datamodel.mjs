// Json fields in arguments. The JSON protocol reads a bare string as a JSON string; the GraphQL that the client writes
// means the document inside it. Untagged, every stored document would be encoded twice.
const RELATION_OPERATIONS = new Set([
  'create', 'createMany', 'connect', 'connectOrCreate', 'disconnect', 'set', 'update', 'updateMany', 'upsert',
  'delete', 'deleteMany', 'is', 'isNot', 'some', 'every', 'none', 'where', 'data', 'include', 'AND', 'OR', 'NOT',
  'skipDuplicates',
]);
// Filters of a Json field whose values are plain text.
const TEXT_FILTERS = new Set(['path', 'string_contains', 'string_starts_with', 'string_ends_with', 'mode']);

/** Models of a Prisma schema: name → Map of field → type. */
export function parseModels(datamodel) {
  const models = new Map();
  for (const [, name, body] of datamodel.matchAll(/^model\s+(\w+)\s*\{(.*?)^\}/gms)) {
    const fields = new Map();
    for (const [, field, type] of body.matchAll(/^\s*(\w+)\s+(\w+)(?:\[\]|\?)?/gm)) fields.set(field, type);
    models.set(name, fields);
  }
  return models;
}

/** Tag the Json fields in an argument (data, where, cursor ...) of `model`; objects are changed in place. */
export function tagArgument(models, value, model) {
  if (Array.isArray(value)) {
    for (const item of value) tagArgument(models, item, model);
  } else if (isPlainObject(value)) {
    const fields = models.get(model);
    for (const key of Object.keys(value)) {
      const type = fields?.get(key);
      if (type === 'Json') value[key] = tagJson(value[key]);
      else if (type && models.has(type)) tagRelation(models, value[key], type);
      else if (!type) tagArgument(models, value[key], model); // AND, OR, NOT, compound unique keys
    }
  }
}

/** Tag the arguments of nested selections. */
export function tagSelection(models, selection, model) {
  for (const [key, selected] of Object.entries(selection)) {
    const type = models.get(model)?.get(key);
    if (typeof selected !== 'object' || !models.has(type)) continue;
    for (const argument of Object.values(selected.arguments ?? {})) tagArgument(models, argument, type);
    tagSelection(models, selected.selection, type);
  }
}

function tagRelation(models, value, model) {
  if (Array.isArray(value)) {
    for (const item of value) tagRelation(models, item, model);
  } else if (isPlainObject(value)) {
    const operations = Object.keys(value).every((key) => RELATION_OPERATIONS.has(key));
    if (!operations) tagArgument(models, value, model);
    else for (const nested of Object.values(value)) tagRelation(models, nested, model);
  }
}

function tagJson(value) {
  if (typeof value === 'string') return { $type: 'Json', value };
  if (Array.isArray(value)) return value.map(tagJson);
  if (!isPlainObject(value)) return value;
  for (const key of Object.keys(value)) if (!TEXT_FILTERS.has(key)) value[key] = tagJson(value[key]);
  return value;
}

function isPlainObject(value) {
  return value !== null && typeof value === 'object' && !value.$type;
}
