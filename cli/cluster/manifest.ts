const READ = '["get", "list", "watch"]';

/**
 * What to apply in a Kubernetes cluster so that it can be registered: an account that reads what is shown of a cluster, and no secret, with a
 * token that stays. The comments at its end make the kubeconfig. `namespace`: a name as Kubernetes takes it, where the account is.
 */
export function clusterManifest(namespace: string): string {
  return `# An account by which Fleetgraph reads this Kubernetes cluster.
#
# 1. Keep this as fleetgraph-account.yaml, and apply it:
#      kubectl apply -f fleetgraph-account.yaml
# 2. Make the kubeconfig, by the commands at the end of this file, which kubectl runs with your own account:
#      (umask 077; sed -n 's/^#> //p' fleetgraph-account.yaml | sh > fleetgraph.kubeconfig)
# 3. Give that file to createKubernetesCluster. It holds the account's token: remove it then.
#
# To take the account's right to read away again: kubectl delete -f fleetgraph-account.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: ${namespace}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: fleetgraph
  namespace: ${namespace}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: fleetgraph
rules:
  - apiGroups: [""]
    resources: ["nodes", "namespaces", "pods", "services", "endpoints", "events"]
    verbs: ${READ}
  - apiGroups: [""]
    resources: ["pods/log"]
    verbs: ["get"]
  # Prometheus, where only the API server reaches it. Without this rule it is not found there, and everything else works.
  - apiGroups: [""]
    resources: ["services/proxy"]
    verbs: ["get"]
  - apiGroups: ["apps"]
    resources: ["deployments", "replicasets", "statefulsets", "daemonsets"]
    verbs: ${READ}
  - apiGroups: ["networking.k8s.io"]
    resources: ["ingresses"]
    verbs: ${READ}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: fleetgraph
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: fleetgraph
subjects:
  - kind: ServiceAccount
    name: fleetgraph
    namespace: ${namespace}
---
apiVersion: v1
kind: Secret
metadata:
  name: fleetgraph-token
  namespace: ${namespace}
  annotations:
    kubernetes.io/service-account.name: fleetgraph
type: kubernetes.io/service-account-token
# The commands of step 2. The server and its authority are those of your own kubeconfig's current context.
#> set -eu
#> cluster() { kubectl config view --minify --flatten --raw --output "jsonpath={.clusters[0].cluster.$1}"; }
#> server=$(cluster server)
#> authority=$(cluster certificate-authority-data)
#> authority="\${authority:+certificate-authority-data: $authority}"
#> token=$(kubectl --namespace ${namespace} get secret fleetgraph-token --output 'jsonpath={.data.token}' | base64 -d)
#> test -n "$token" || { echo "The token is not there yet: try again." >&2; exit 1; }
#> cat <<END
#> apiVersion: v1
#> kind: Config
#> clusters:
#>   - name: fleetgraph
#>     cluster:
#>       server: "$server"
#>       $authority
#> users:
#>   - name: fleetgraph
#>     user:
#>       token: "$token"
#> contexts:
#>   - name: fleetgraph
#>     context: {cluster: fleetgraph, user: fleetgraph}
#> current-context: fleetgraph
#> END
`;
}
