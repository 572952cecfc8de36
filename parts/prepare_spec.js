// Makes an OpenAPI file fit Prism, without loosening what it asks of a request:
//   node prepare_spec.js FROM.json TO.json
// Prism reads a repeated form field as an array only where the file says so field by field; and it refuses its own answer
// where the file's example is a relative address but the schema says uri.
const fs = require("fs");
const spec = JSON.parse(fs.readFileSync(process.argv[2]));

function relativeUris(node) {
  if (node === null || typeof node !== "object") return;
  if (node.type === "string" && node.format === "uri") delete node.format;
  Object.values(node).forEach(relativeUris);
}

for (const operations of Object.values(spec.paths)) {
  for (const operation of Object.values(operations)) {
    relativeUris(operation.responses);
    const form = operation.requestBody?.content?.["application/x-www-form-urlencoded"];
    for (const [field, schema] of Object.entries(form?.schema?.properties ?? {})) {
      if (schema.type === "array") (form.encoding ??= {})[field] = { style: "form", explode: true };
    }
  }
}
fs.writeFileSync(process.argv[3], JSON.stringify(spec));
