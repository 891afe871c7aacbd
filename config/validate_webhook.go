package config

import (
	"fmt"
	"net"
	"regexp"
	"time"
)

func (v *validator) webhook(w Webhook) {
	v.address("webhook.bindAddress", w.BindAddress, false)
	v.certificates(w)
	v.servingHosts(w)
	v.authority(w)
	v.clients(w)
	v.duration("webhook.defaultTimeout", w.DefaultTimeout, Duration(time.Second), Duration(30*time.Second))
	v.duration("webhook.timeoutMargin", w.TimeoutMargin, Duration(50*time.Millisecond), Duration(5*time.Second))
	if w.TimeoutMargin >= w.DefaultTimeout {
		v.failf("webhook.timeoutMargin", "must be shorter than defaultTimeout (%s), not %s", w.DefaultTimeout, w.TimeoutMargin)
	}
	if w.MaxReviewBytes < 64<<10 || w.MaxReviewBytes > 256<<20 {
		v.failf("webhook.maxReviewBytes", "must be from 64Ki to 256Mi, not %s", w.MaxReviewBytes)
	}
	if w.MaxInFlightBytes < w.MaxReviewBytes {
		v.failf("webhook.maxInFlightBytes", "must be at least maxReviewBytes (%s), not %s", w.MaxReviewBytes, w.MaxInFlightBytes)
	}
}

func (v *validator) certificates(w Webhook) {
	if (w.TLSCertFile == "") != (w.TLSKeyFile == "") {
		v.failf("webhook", "tlsCertFile and tlsKeyFile belong together: give both or neither")
	}
	if w.CertDir != "" && w.TLSCertFile != "" {
		v.failf("webhook.certDir", "must be left out if tlsCertFile is given")
	}
}

func (v *validator) servingHosts(w Webhook) {
	if len(w.Hosts) > 0 && !w.OwnCertificates() {
		v.failf("webhook.hosts", "must be left out if certificates are given: they say what hosts they are for")
	}
	for i, host := range w.Hosts {
		if net.ParseIP(host) == nil && !isHostName(host) {
			v.failf(fmt.Sprintf("webhook.hosts[%d]", i), "must be a DNS name or an IP address, not %q", shorten(host))
		}
	}
}

// secretPattern is that of a DNS subdomain, which names of Secrets are.
var secretPattern = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)

func (v *validator) authority(w Webhook) {
	v.duration("webhook.authorityLifetime", w.AuthorityLifetime, Duration(10*time.Minute), Duration(87600*time.Hour))
	v.duration("webhook.authorityPropagation", w.AuthorityPropagation, 0, max(0, w.AuthorityLifetime/10))
	if w.MutatingConfigurationName != "" && w.ConfigurationName == "" {
		v.failf("webhook.mutatingConfigurationName", "needs configurationName: what pins images also judges them")
	}
	const field = "webhook.authoritySecret"
	switch name := w.AuthoritySecret; {
	case name == "":
	case len(name) > 253 || !secretPattern.MatchString(name):
		v.failf(field, "must be the name of a Secret, not %q", shorten(name))
	case !w.OwnCertificates():
		v.failf(field, "must be left out if certificates are given: then hssgate makes none")
	case w.ConfigurationName == "":
		v.failf(field, "needs configurationName: the API server learns of a new authority from there")
	}
}

func (v *validator) clients(w Webhook) {
	if len(w.ClientNames) > 0 && w.ClientCAFile == "" {
		v.failf("webhook.clientNames", "needs clientCAFile: without it clients have no names")
	}
	for i, name := range w.ClientNames {
		field := fmt.Sprintf("webhook.clientNames[%d]", i)
		if name == "" {
			v.failf(field, "must be the common name or a DNS name of a client's certificate, not empty")
		}
		v.text(field, name, 253)
	}
}
