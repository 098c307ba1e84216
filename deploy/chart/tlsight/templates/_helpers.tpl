{{- define "tlsight.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tlsight.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- define "tlsight.selectorLabels" -}}
app.kubernetes.io/name: {{ include "tlsight.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tlsight.labels" -}}
{{ include "tlsight.selectorLabels" . }}
app.kubernetes.io/component: agent
app.kubernetes.io/part-of: tlsight
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "tlsight.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "tlsight.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "tlsight.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* What values and chart say of the configuration file. What the user's `config` says counts for more. */}}
{{- define "tlsight.config" -}}
{{- $config := dict "tls13" (dict "certificates" (ternary "on" "off" .Values.tls13.certificates)) }}
{{- if .Values.policies }}
{{- $config = merge $config (dict "policy" (dict "files" (list "/etc/tlsight/policies"))) }}
{{- end }}
{{- if .Values.rules }}
{{- $config = merge $config (dict "rules" (dict "files" (list "/etc/tlsight/rules"))) }}
{{- end }}
{{- if .Values.metrics.tlsSecret }}
{{- $tls := dict "certificate" "/etc/tlsight/tls/tls.crt" "key" "/etc/tlsight/tls/tls.key" }}
{{- if .Values.metrics.requireClientCertificate }}
{{- $_ := set $tls "client_ca" "/etc/tlsight/tls/ca.crt" }}
{{- end }}
{{- $config = merge $config (dict "metrics" (dict "tls" $tls)) }}
{{- end }}
{{- if .Values.metrics.bearerTokenSecret }}
{{- $config = merge $config (dict "metrics" (dict "bearer_token_file" "/etc/tlsight/token/token")) }}
{{- end }}
{{- mergeOverwrite $config (deepCopy .Values.config) | toYaml }}
{{- end }}

{{- define "tlsight.probe" -}}
httpGet:
  path: {{ .path }}
  port: metrics
  scheme: {{ ternary "HTTPS" "HTTP" (not (empty .root.Values.metrics.tlsSecret)) }}
{{- end }}

{{/* Addresses are the pod's own; on the node's network, those of the node are everybody's. */}}
{{- define "tlsight.listen" -}}
{{- $address := .Values.metrics.address }}
{{- if not $address }}
{{- $address = ternary "$(HOST_IP)" "0.0.0.0" .Values.hostNetwork }}
{{- end }}
{{- printf "%s:%v" $address .Values.metrics.port }}
{{- end }}
