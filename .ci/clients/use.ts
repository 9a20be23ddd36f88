// A client as a TypeScript developer writes it; `tsc --strict` finds where the document and it disagree.
import createClient from "openapi-fetch";
import type { components, paths } from "./api";

const api = createClient<paths>({ baseUrl: "http://127.0.0.1:5000" });

export async function completeFirst(username: string, password: string): Promise<string | null> {
  const login = await api.POST("/api/v1/auth/login", { body: { username, password } });
  if (login.error) {
    const problem: components["schemas"]["Problem"] = login.error;
    throw new Error(problem.code);
  }
  const headers = { Authorization: `Bearer ${login.data.access_token}` };
  const page = await api.GET("/api/v1/tasks", {
    headers,
    params: { query: { status: ["pending", "in_progress"], sort: "due", limit: 1 } },
  });
  const task: components["schemas"]["Task"] | undefined = page.data?.data[0];
  if (!task) {
    return null;
  }
  const patched = await api.PATCH("/api/v1/tasks/{task_id}", {
    headers,
    params: { path: { task_id: task.id }, header: { "If-Match": `"${task.version}"` } },
    body: { status: "completed", due_date: null },
  });
  return patched.data?.completed_at ?? null;
}

// @ts-expect-error a status that is none
const wrong: components["schemas"]["Task"]["status"] = "done";
export { wrong };
