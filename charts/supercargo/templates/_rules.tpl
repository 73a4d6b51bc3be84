{{- /*
Every right of the operator, each with its reason; operator/README.md has the same table. There is no wildcard, no `list` or
`watch` on Secrets, nothing on pods/exec, nothing on roles. With watchNamespaces these are Roles, else one ClusterRole.
*/ -}}
{{- define "supercargo.rules" -}}
# Our own kinds: the wish. `patch` adds and removes finalizers, nothing else of them is written.
- apiGroups: [supercargo.dev]
  resources: [cargoregistries, cargotokens]
  verbs: [get, list, watch, patch]
# Our own kinds: conditions and what was seen.
- apiGroups: [supercargo.dev]
  resources: [cargoregistries/status, cargotokens/status]
  verbs: [patch]
# Children name their owner with blockOwnerDeletion; clusters with OwnerReferencesPermissionEnforcement (OpenShift) ask for this.
- apiGroups: [supercargo.dev]
  resources: [cargoregistries/finalizers, cargotokens/finalizers]
  verbs: [update]
# Children of a registry: configuration, its two Services. Watched, so that what someone changes is put back.
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch]
# The account of its pods; deleted when the spec names another one.
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [get, list, watch, create, patch, delete]
# Credentials that a registry names, its own internal Secret, the Secrets of tokens: by name only. `list` and `watch` would show every Secret.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, create, patch]
# The volume of a registry without object storage. Never deleted: it holds the crates.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, create, patch]
# Why a registry's pod does not start (image, Secret, scheduling), for its conditions.
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
# The pods of a registry.
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch]
# The check of a registry's bucket, and its garbage collection.
- apiGroups: [batch]
  resources: [cronjobs]
  verbs: [get, list, watch, create, patch]
# Why the last check of a registry's bucket did not succeed, for its conditions.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list]
# A drain takes one replica at a time; deleted when there is one replica only.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# Who may reach a registry's internal port.
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
# What happened, for `kubectl describe` and `kubectl events`.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end }}
