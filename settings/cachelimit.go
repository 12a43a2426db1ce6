package settings

// DefaultCacheLimit bounds the keyed caches of a machine, in packed bytes.
const DefaultCacheLimit int64 = 10e9

// CacheLimitOrDefault is the limit of all keyed caches, in packed bytes.
func (s *Settings) CacheLimitOrDefault() int64 {
	if s.CacheLimit == 0 {
		return DefaultCacheLimit
	}
	return s.CacheLimit
}
