{{- define "supercargo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 54 | trimSuffix "-" }}
{{- end }}

{{- /* Release `supercargo` gives `supercargo-operator`, release `tools` gives `tools-supercargo-operator`. */ -}}
{{- define "supercargo.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains (include "supercargo.name" .) .Release.Name }}
{{- printf "%s-operator" (.Release.Name | trunc 54 | trimSuffix "-") }}
{{- else }}
{{- printf "%s-operator" (printf "%s-%s" .Release.Name (include "supercargo.name" .) | trunc 54 | trimSuffix "-") }}
{{- end }}
{{- end }}

{{- define "supercargo.selector" -}}
app.kubernetes.io/name: {{ include "supercargo.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "supercargo.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "supercargo.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/component" "operator"
  "app.kubernetes.io/part-of" "supercargo"
  "app.kubernetes.io/managed-by" .Release.Service
  "app.kubernetes.io/version" .Chart.AppVersion
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63)
}}
{{- merge $own .Values.commonLabels | toYaml }}
{{- end }}

{{- define "supercargo.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "supercargo.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "supercargo.image" -}}
{{- if .Values.image.reference }}
{{- .Values.image.reference }}
{{- else }}
{{- $tagged := printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- if .Values.image.digest }}
{{- printf "%s@%s" $tagged .Values.image.digest }}
{{- else }}
{{- $tagged }}
{{- end }}
{{- end }}
{{- end }}

{{- define "supercargo.registryImage" -}}
{{- default (printf "supercargo/registry:%s" .Chart.AppVersion) .Values.registry.image }}
{{- end }}
