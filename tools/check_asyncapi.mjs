// Ask AsyncAPI's own parser about a document: `node check_asyncapi.mjs FILE`, from a folder with @asyncapi/parser in it.
// Ends with 1 on an error and on a warning, such as a reference that leads nowhere.
import { Parser, fromFile } from "@asyncapi/parser";

const INFORMATION = 2; // severities: 0 error, 1 warning, 2 information (such as a newer AsyncAPI), 3 hint

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
const faults = diagnostics.filter(({ severity }) => severity < INFORMATION);
for (const { path, message } of faults) {
  console.error(`${path.join(".")}: ${message}`);
}
process.exit(document && faults.length === 0 ? 0 : 1);
