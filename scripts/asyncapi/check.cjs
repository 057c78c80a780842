// Reads an AsyncAPI document with the parser of the AsyncAPI project and says what it has to say.
const { readFileSync } = require("node:fs");
const { Parser } = require("@asyncapi/parser");

// "You could use a newer version of the specification" and the like are no faults.
const ADVICE = new Set(["asyncapi-latest-version", "asyncapi-id", "asyncapi3-tags", "asyncapi-info-contact", "asyncapi-tags"]);

async function main(file) {
  const { document, diagnostics } = await new Parser().parse(readFileSync(file, "utf8"), { source: file });
  const faults = diagnostics.filter((it) => it.severity <= 1 && !ADVICE.has(String(it.code)));
  for (const it of faults) {
    console.error(`${file}: ${it.code}: ${it.message} (at ${it.path.join(".")})`);
  }
  if (!document || faults.length > 0) process.exit(1);
  const count = (list) => list.all().length;
  console.log(
    `${file}: AsyncAPI ${document.version()}, ${count(document.channels())} channels, ` +
      `${count(document.operations())} operations, ${count(document.messages())} messages`,
  );
}

main(process.argv[2]);
