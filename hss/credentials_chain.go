package hss

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ChainCredentials asks the sources in turn and uses the first that is
// configured. A source that is configured and fails ends the search: another
// identity should not step in unnoticed.
func ChainCredentials(sources ...CredentialSource) CredentialSource {
	return chainCredentials(sources)
}

// DefaultCredentials looks where the official SDK does, and for CCE's pod
// identity too: environment variables, the profile file, pod identity, and the
// agency of the node. Temporary keys are kept and renewed ahead of expiry.
func DefaultCredentials() CredentialSource {
	return ChainCredentials(
		EnvironmentCredentials(nil),
		ProfileCredentials("", nil),
		CachedCredentials(PodIdentityCredentials(nil, nil), CacheOptions{}),
		CachedCredentials(MetadataCredentials("", nil), CacheOptions{}),
	)
}

type chainCredentials []CredentialSource

// Credentials implements [CredentialSource].
func (s chainCredentials) Credentials(ctx context.Context) (Credentials, error) {
	var missing []string
	for _, source := range s {
		c, err := source.Credentials(ctx)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, ErrNotConfigured) {
			return Credentials{}, afterMissing(missing, err)
		}
		missing = append(missing, err.Error())
	}
	return Credentials{}, fmt.Errorf("no source of credentials is configured (%s): %w", strings.Join(missing, "; "), ErrNotConfigured)
}

// afterMissing also names what was looked for before a source failed.
func afterMissing(missing []string, err error) error {
	if len(missing) == 0 {
		return err
	}
	return fmt.Errorf("%w (before that: %s)", err, strings.Join(missing, "; "))
}

// Invalidate tells every source that its credentials were refused.
func (s chainCredentials) Invalidate() {
	for _, source := range s {
		invalidate(source)
	}
}
