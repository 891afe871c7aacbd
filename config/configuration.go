package config

import (
	"slices"
	"time"
)

// The only version and kind that this release reads.
const (
	// APIVersion is the value of apiVersion.
	APIVersion = "config.hssgate.io/v1alpha1"
	// Kind is the value of kind.
	Kind = "Configuration"
)

// Configuration is the whole file.
type Configuration struct {
	// APIVersion must be config.hssgate.io/v1alpha1.
	APIVersion string `yaml:"apiVersion"`
	// Kind must be Configuration.
	Kind string `yaml:"kind"`
	// Projects are the HSS projects that hssgate asks, at least one: each is
	// one project in one region.
	Projects []Project `yaml:"projects"`
	// Registries say which registry hosts belong to which project, at least
	// one. An image of any other host is not found, whatever its path.
	Registries []Registry `yaml:"registries"`
	// Cache says how long HSS's answers are kept and used.
	Cache Cache `yaml:"cache"`
	// Webhook says how the admission webhook listens.
	Webhook Webhook `yaml:"webhook"`
	// Exceptions says what ImageScanExceptions may do.
	Exceptions Exceptions `yaml:"exceptions"`
	// Audit says how the pods that already run are judged.
	Audit Audit `yaml:"audit"`
	// ScanClaimsConfigMap names the ConfigMap in hssgate's own namespace, which
	// must be there, in which replicas note what HSS was asked to scan, so that
	// an image is scanned once whatever the number of replicas and restarts.
	// Left out, or outside a cluster, each replica remembers for itself.
	ScanClaimsConfigMap string `yaml:"scanClaimsConfigMap"`
	// HealthBindAddress is where /healthz and /readyz are served, as
	// host:port.
	HealthBindAddress string `yaml:"healthBindAddress"`
	// MetricsBindAddress is where /metrics is served in plain HTTP, as
	// host:port; "0" switches it off.
	MetricsBindAddress string `yaml:"metricsBindAddress"`
	// ShutdownDelay is how long a replica that is to stop goes on answering, so
	// that nothing is sent to it any more when it closes; from 0s to 5m. In this
	// time /readyz fails, for load balancers, and /readyz?exclude=stopping, the
	// chart's readiness probe, does not. Outside a cluster there is no delay
	// unless hssgate serve --shutdown-delay sets one.
	ShutdownDelay Duration `yaml:"shutdownDelay"`
	// Logging says what is logged, and how.
	Logging Logging `yaml:"logging"`
	// Tracing says which reviews are traced, and where to.
	Tracing Tracing `yaml:"tracing"`
	// DryRun turns every denial into a warning, whatever a policy says.
	DryRun bool `yaml:"dryRun"`
	// ExemptNamespaces are never judged, whatever a policy says, so that a
	// cluster can start. hssgate's own namespace is always one of them.
	ExemptNamespaces []string `yaml:"exemptNamespaces"`
}

// ScansOnDemand reports whether any project is asked to scan images.
func (c *Configuration) ScansOnDemand() bool {
	return slices.ContainsFunc(c.Projects, func(p Project) bool { return p.ScanOnDemand.Enabled })
}

// Cache says how long HSS's answers are kept and used.
type Cache struct {
	// MaxImages bounds the images that are remembered, from 1 to 10000000.
	// Images that HSS does not know are kept apart, up to a quarter as many and
	// no more than 16384, so that no flood of made-up names pushes a known
	// image out.
	MaxImages int `yaml:"maxImages"`
	// MaxBytes bounds the memory of the images that are remembered, from 1Mi
	// to 4Gi. An image takes less than 400 bytes, one of several architectures
	// some 150 more for each.
	MaxBytes Bytes `yaml:"maxBytes"`
	// MaxVulnerabilityBytes bounds the memory of the lists of images'
	// vulnerabilities, from 1Mi to 1Gi; some 200 bytes for each vulnerability.
	// Only those of images that fail are asked for.
	MaxVulnerabilityBytes Bytes `yaml:"maxVulnerabilityBytes"`
	// FreshFor is how long an image's completed scan is used without asking
	// HSS again, from 1s. An image that is in use is asked for again, in the
	// background, when four fifths of that time are over.
	FreshFor Duration `yaml:"freshFor"`
	// NotFoundFor is the same for an image that HSS does not know, so that a
	// new push is soon seen.
	NotFoundFor Duration `yaml:"notFoundFor"`
	// PendingFor is the same for an image that waits to be scanned or is
	// being scanned.
	PendingFor Duration `yaml:"pendingFor"`
	// ErrorFor is how long HSS is not asked again for an image after an
	// attempt failed. If HSS says how long to wait, that counts instead.
	ErrorFor Duration `yaml:"errorFor"`
	// WaitWhenStale is how long a request waits for HSS if a scan result that
	// is no longer fresh is at hand. After that the older result decides and
	// says so, while HSS is still being asked.
	WaitWhenStale Duration `yaml:"waitWhenStale"`
	// MaxStaleness is the age up to which an answer is still used while HSS
	// cannot be asked, at least freshFor. Past it, a policy's
	// when.unavailable decides.
	MaxStaleness Duration `yaml:"maxStaleness"`
	// WarmUpTimeout is how long a replica that starts may take to learn of the
	// images that already run before it reports that it is ready, from 0s,
	// which skips that, to 5m.
	WarmUpTimeout Duration `yaml:"warmUpTimeout"`
}

// Webhook says how the admission webhook listens.
type Webhook struct {
	// BindAddress is where the webhook is served in HTTPS, as host:port.
	BindAddress string `yaml:"bindAddress"`
	// CertDir is a folder that holds tls.crt and tls.key, re-read when they
	// change. Without it and without tlsCertFile, hssgate makes its own
	// certificates.
	CertDir string `yaml:"certDir"`
	// TLSCertFile and tlsKeyFile take the place of certDir.
	TLSCertFile string `yaml:"tlsCertFile"`
	// TLSKeyFile is the private key of tlsCertFile.
	TLSKeyFile string `yaml:"tlsKeyFile"`
	// Hosts are the DNS names and IP addresses that hssgate's own certificates
	// are for. Left out, they are localhost, 127.0.0.1, ::1 and, in a cluster,
	// those of a Service named hssgate in hssgate's namespace.
	Hosts []string `yaml:"hosts"`
	// ConfigurationName names the ValidatingWebhookConfiguration into whose
	// webhooks hssgate writes the authority of its own certificates (caBundle).
	ConfigurationName string `yaml:"configurationName"`
	// MutatingConfigurationName names the MutatingWebhookConfiguration whose
	// webhook has hssgate pin images (spec.pin of a policy), which gets the same
	// authority. It needs configurationName. Left out, there is none, or someone
	// else fills in its caBundle.
	MutatingConfigurationName string `yaml:"mutatingConfigurationName"`
	// AuthoritySecret names the Secret in hssgate's own namespace that keeps the
	// authority of hssgate's own certificates, so that all replicas serve by one
	// authority, and it is renewed without a request being refused. It needs
	// configurationName. Left out, each replica has an authority of its own, in
	// memory.
	AuthoritySecret string `yaml:"authoritySecret"`
	// AuthorityLifetime is how long the authority in authoritySecret is valid,
	// from 10m to 87600h. A new one is made when a third of it is left.
	AuthorityLifetime Duration `yaml:"authorityLifetime"`
	// AuthorityPropagation is how long the API server is given to learn of a new
	// authority before certificates come from it, from 0s to a tenth of
	// authorityLifetime.
	AuthorityPropagation Duration `yaml:"authorityPropagation"`
	// ClientCAFile is a file of the authorities (PEM) of clients, re-read when it
	// changes. With it, only a client with a certificate of theirs may ask: the
	// API server, if its AdmissionConfiguration says so. Without it, whoever can
	// connect may.
	ClientCAFile string `yaml:"clientCAFile"` //nolint:tagliatelle // as Kubernetes spells clientCAFile
	// ClientNames are the clients that may ask, by the common name or a DNS name
	// of their certificate. Left out, it's all that clientCAFile vouches for.
	ClientNames []string `yaml:"clientNames"`
	// DefaultTimeout is the time for an answer if the API server's request
	// does not tell its own, from 1s to 30s.
	DefaultTimeout Duration `yaml:"defaultTimeout"`
	// TimeoutMargin is how long before the API server's timeout the answer is
	// sent, from 50ms to 5s.
	TimeoutMargin Duration `yaml:"timeoutMargin"`
	// MaxReviewBytes bounds one review, from 64Ki to 256Mi. A larger one is
	// denied with a reason. The API server sends up to six bytes for each
	// byte of an object, and old and new object in one.
	MaxReviewBytes Bytes `yaml:"maxReviewBytes"`
	// MaxInFlightBytes bounds all large reviews that are read at one time, at
	// least maxReviewBytes. What counts is what has arrived. Past it, one that
	// is slow to arrive is refused with a reason, and the others wait.
	MaxInFlightBytes Bytes `yaml:"maxInFlightBytes"`
}

// OwnCertificates reports whether hssgate makes its own certificates, since it
// is given none.
func (w *Webhook) OwnCertificates() bool { return w.CertDir == "" && w.TLSCertFile == "" }

// Exceptions says what ImageScanExceptions may do.
type Exceptions struct {
	// MaxLifetime is the longest that an exception lasts from its creation, from
	// 1m to 87600h. One that claims more is refused, and ends then if it is
	// there all the same.
	MaxLifetime Duration `yaml:"maxLifetime"`
}

// Audit says how the pods that already run are judged: by the same policies as
// new ones, in the background, by one of the replicas.
type Audit struct {
	// Enabled switches it on.
	Enabled bool `yaml:"enabled"`
	// Interval is the time from one audit to the next, from 5s to 24h. A change of a
	// policy is audited after 3 seconds, a change of exceptions or scan results
	// after at most a fifth of the interval. Over time, changes cause no more than
	// one audit in a fifth of the interval, and audits take no more than a fifth of
	// the time.
	Interval Duration `yaml:"interval"`
	// Events says whether workloads get Events that tell what is wrong.
	Events bool `yaml:"events"`
	// Reports says which reports are written, one for each namespace in which
	// something is wrong: OpenReports (openreports.io), PolicyReports
	// (wgpolicyk8s.io), Auto or None. Auto writes OpenReports where their
	// CustomResourceDefinition is installed, else PolicyReports where theirs is.
	Reports string `yaml:"reports"`
}

// Logging says what is logged, and how.
type Logging struct {
	// Level is debug, info, warn or error. It is read again when the file
	// changes; all else is read at the start only.
	Level string `yaml:"level"`
	// Format is json or text.
	Format string `yaml:"format"`
}

// Tracing says which reviews are traced by OpenTelemetry, and where to. Each
// trace has a span for the review, the decision, each image that must be looked
// up, and each call to HSS, with its request id.
type Tracing struct {
	// Endpoint is where spans are sent by OTLP, in protobuf over HTTP: the
	// address of an OpenTelemetry collector, such as
	// http://collector.observability:4318, to which /v1/traces is added. Left
	// out, nothing is traced.
	Endpoint string `yaml:"endpoint"`
	// SamplingRatio is the part of reviews that are traced, from 0 to 1. If the
	// API server traces, too, it decides: its request says which trace it
	// belongs to, and whether that is recorded.
	SamplingRatio float64 `yaml:"samplingRatio"`
	// HeadersFile is a file of headers to send, one a line, such as
	// "Authorization: Bearer …". It is read each time. It needs https, unless
	// the endpoint is on this host.
	HeadersFile string `yaml:"headersFile"`
	// CAFile is a file of the authorities (PEM) that the endpoint is trusted by,
	// in place of the system's.
	CAFile string `yaml:"caFile"`
	// Timeout is how long spans are tried to be sent before they are dropped,
	// from 1s to 1m. Reviews never wait for that.
	Timeout Duration `yaml:"timeout"`
}

// Default returns the configuration of an empty file: everything that has a
// default, no projects and no registries.
func Default() *Configuration {
	c := &Configuration{}
	c.setDefaults()
	return c
}

func (c *Configuration) setDefaults() {
	*c = Configuration{
		APIVersion:         APIVersion,
		Kind:               Kind,
		HealthBindAddress:  ":8081",
		MetricsBindAddress: ":8080",
		ShutdownDelay:      Duration(10 * time.Second),
		ExemptNamespaces:   []string{"kube-system"},
	}
	c.Cache.setDefaults()
	c.Webhook.setDefaults()
	c.Exceptions = Exceptions{MaxLifetime: Duration(30 * 24 * time.Hour)}
	c.Audit = Audit{Enabled: true, Interval: Duration(10 * time.Minute), Events: true, Reports: "Auto"}
	c.Logging = Logging{Level: "info", Format: "json"}
	c.Tracing = Tracing{SamplingRatio: 0.1, Timeout: Duration(10 * time.Second)}
}

func (c *Cache) setDefaults() {
	*c = Cache{
		MaxImages: 20000,
		MaxBytes:  64 << 20,

		MaxVulnerabilityBytes: 16 << 20,

		FreshFor:      Duration(5 * time.Minute),
		NotFoundFor:   Duration(30 * time.Second),
		PendingFor:    Duration(15 * time.Second),
		ErrorFor:      Duration(2 * time.Second),
		WaitWhenStale: Duration(2 * time.Second),
		MaxStaleness:  Duration(24 * time.Hour),
		WarmUpTimeout: Duration(10 * time.Second),
	}
}

func (w *Webhook) setDefaults() {
	*w = Webhook{
		BindAddress:          ":9443",
		AuthorityLifetime:    Duration(365 * 24 * time.Hour),
		AuthorityPropagation: Duration(time.Minute),
		DefaultTimeout:       Duration(10 * time.Second),
		TimeoutMargin:        Duration(500 * time.Millisecond),
		MaxReviewBytes:       32 << 20,
		MaxInFlightBytes:     64 << 20,
	}
}
