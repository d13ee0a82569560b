import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "./page.css";
import { createRoot } from "react-dom/client";
import { Page } from "./page.tsx";
import { Session } from "./session.ts";

const session = new Session();
void session.start();

const element = document.getElementById("page");
if (element === null) throw new Error("the page has no element to show itself in");
createRoot(element).render(<Page session={session} />);
