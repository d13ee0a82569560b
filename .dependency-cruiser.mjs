import visitorModule from "@swc/core/Visitor.js";

// dependency-cruiser reads TypeScript by swc's visitor, which does not know `using` declarations and refuses the whole file.
const visitor = visitorModule.Visitor.prototype;
const visitStatement = visitor.visitStatement;
visitor.visitStatement = function visitStatementOrUsing(statement) {
  return statement.type === "UsingDeclaration" ? this.visitVariableDeclarators(statement.decls) : visitStatement.call(this, statement);
};

/** Who may import whom. Each rule's comment says where the code belongs instead; dependency-cruiser prints it with the violation. */
/** @type {import("dependency-cruiser").IConfiguration} */
const configuration = {
  forbidden: [
    {
      name: "no-cycles",
      comment: "Two files that need each other are one thing, or share a third: move what both need into a file that imports neither.",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "schema-imports-nothing",
      comment: "schema/ holds contracts and what is generated from them. Code that works with a contract belongs in platform/ or beyond.",
      severity: "error",
      from: { path: "^schema/" },
      to: { path: "^(platform|subgraphs|gateway|agent|cli|test|scripts)/" },
    },
    {
      name: "platform-imports-schema-only",
      comment:
        "platform/ is what every process needs. What only subgraphs need belongs in subgraphs/kit/, what one process needs in its folder.",
      severity: "error",
      from: { path: "^platform/" },
      to: { path: "^(subgraphs|gateway|agent|cli|test|scripts)/" },
    },
    {
      name: "kit-imports-platform-and-schema-only",
      comment: "subgraphs/kit/ is what every subgraph needs. What one subgraph alone needs belongs in subgraphs/<name>/.",
      severity: "error",
      from: { path: "^subgraphs/kit/" },
      to: { path: "^(subgraphs/(?!kit/)|gateway/|agent/|cli/|test/|scripts/)" },
    },
    {
      name: "subgraphs-do-not-import-each-other",
      comment:
        "A subgraph asks another over gRPC (hypervisor.v1) or extends its entity by @key. What two subgraphs share as code belongs in subgraphs/kit/.",
      severity: "error",
      from: { path: "^subgraphs/((?!kit/)[^/]+)/" },
      to: { path: "^subgraphs/(?!kit/)", pathNot: "^subgraphs/$1/" },
    },
    {
      name: "processes-do-not-import-each-other",
      comment:
        "Gateway, agent and subgraphs also run alone and talk by their protocols. What they share as code belongs in platform/; what puts them together, in cli/.",
      severity: "error",
      from: { path: "^(gateway|agent|subgraphs/(?!kit/)[^/]+)/" },
      to: { path: "^(gateway|agent)/", pathNot: "^$1/" },
    },
    {
      name: "only-cli-imports-subgraphs",
      comment: "The gateway and the agent stand on platform/ and schema/ alone. What they need of subgraphs/kit/ belongs in platform/.",
      severity: "error",
      from: { path: "^(gateway|agent)/" },
      to: { path: "^subgraphs/" },
    },
    {
      name: "nothing-imports-cli-or-test",
      comment: "cli/ and test/ are the outermost: what others need of them belongs in the part that it is about.",
      severity: "error",
      from: { path: "^(platform|subgraphs|gateway|agent|schema|scripts)/" },
      to: { path: "^(cli|test)/" },
    },
    {
      name: "graphiql-is-a-page",
      comment: "gateway/graphiql/ runs in a browser and is bundled by itself: it shares no code with the server, which serves its files.",
      severity: "error",
      from: { path: "^gateway/graphiql/" },
      to: { path: "^(platform|subgraphs|agent|cli|schema|test|scripts|gateway/(?!graphiql/))" },
    },
    {
      name: "no-development-packages-at-run-time",
      comment: "What runs in production is listed under dependencies in package.json; devDependencies are for building and testing.",
      severity: "error",
      from: { path: "^(platform|subgraphs|gateway|agent|cli|bin)/", pathNot: "^gateway/graphiql/" },
      to: { dependencyTypes: ["npm-dev"], dependencyTypesNot: ["npm", "type-only"] },
    },
    {
      name: "no-unlisted-packages",
      comment: "A package that happens to be installed for another one can vanish with it: list it in package.json.",
      severity: "error",
      from: { pathNot: "^schema/generated/" },
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    },
    {
      name: "not-found",
      comment: "The imported file or package does not exist.",
      severity: "error",
      // What codegen writes imports a package of types alone.
      from: { pathNot: "^schema/generated/operations/" },
      to: { couldNotResolve: true },
    },
  ],
  options: {
    parser: "swc",
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
    exclude: { path: "^(dist|data|\\.cache)/" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".tsx", ".mjs", ".js"],
    },
    skipAnalysisNotInRules: true,
  },
};

export default configuration;
