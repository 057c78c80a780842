// Walks a list page by page, and tries again when it makes sense. Node 18 or later, nothing else.
//
//   API=http://127.0.0.1:8080/api/v1 KEY=pivotal_... npx tsx paging.ts onboardings state=active

const { API, KEY } = process.env as { API: string; KEY: string };

type Page<T> = { data: T[]; has_more: boolean; next_cursor: string | null };
type Refused = { error: { type: string; code: string; message: string; field?: string } };

/** One GET; waits and tries again on 429 and 503, as long as the server says. */
async function get<T>(path: string, query: Record<string, string>): Promise<T> {
  for (let attempt = 0; attempt < 5; attempt++) {
    const url = `${API}/${path}?${new URLSearchParams(query)}`;
    const answer = await fetch(url, { headers: { Authorization: `Bearer ${KEY}` } });
    if (answer.ok) return (await answer.json()) as T;
    const { error } = (await answer.json()) as Refused;
    if (answer.status !== 429 && answer.status !== 503) {
      throw new Error(`${error.code}${error.field ? ` (${error.field})` : ""}: ${error.message}`);
    }
    const seconds = Number(answer.headers.get("Retry-After") ?? 2 ** attempt);
    await new Promise((resume) => setTimeout(resume, seconds * 1000));
  }
  throw new Error("the server is too busy");
}

/** Every record of a list, newest first. */
async function* walk<T>(path: string, query: Record<string, string> = {}): AsyncGenerator<T> {
  let page: Page<T>;
  do {
    page = await get<Page<T>>(path, { limit: "100", ...query });
    yield* page.data;
    query = { ...query, cursor: page.next_cursor ?? "" };
  } while (page.has_more);
}

const [path, ...filters] = process.argv.slice(2);
const query = Object.fromEntries(filters.map((pair) => pair.split("=", 2)));
for await (const record of walk<{ id: string }>(path, query)) console.log(record.id);
