// What postern-dns has counted, under the names that metrics tools read.

import PosternForwarder
import PosternMail

extension ForwarderCounters {
    var readings: [CounterReading] {
        func answers(_ source: String) -> CounterName { CounterName("postern_dns_answers_total", "source", source) }
        return [
            CounterReading(CounterName("postern_dns_questions_total"), queries),
            CounterReading(answers("static"), staticAnswers), CounterReading(answers("cache"), hits),
            CounterReading(answers("upstream"), misses), CounterReading(answers("joined"), joined),
            CounterReading(answers("turned_away"), turnedAway),
            // Parts of those: of the cache, and of what was turned away.
            CounterReading(CounterName("postern_dns_stale_answers_total"), staleAnswers),
            CounterReading(CounterName("postern_dns_cut_answers_total"), cutAnswers),
            CounterReading(CounterName("postern_dns_failure_answers_total"), failureAnswers),
            CounterReading(CounterName("postern_dns_over_rate_total"), overRate),
            CounterReading(CounterName("postern_dns_prefetches_total"), prefetches),
            CounterReading(CounterName("postern_dns_upstream_probes_total"), probes),
            CounterReading(CounterName("postern_dns_refused_messages_total"), refusedMessages),
            CounterReading(CounterName("postern_dns_upstream_queries_total"), upstreamQueries),
            CounterReading(CounterName("postern_dns_upstream_stream_queries_total"), upstreamStreamQueries),
            CounterReading(CounterName("postern_dns_upstream_failures_total"), upstreamFailures),
            CounterReading(CounterName("postern_dns_ignored_replies_total"), ignoredReplies),
            CounterReading(CounterName("postern_dns_cookie_mismatches_total"), cookieMismatches),
            CounterReading(CounterName("postern_dns_upstream_connections_total"), upstreamConnections),
            CounterReading(CounterName("postern_dns_bogus_answers_total"), bogusAnswers),
            CounterReading(CounterName("postern_dns_given_up_total"), givenUp),
            CounterReading(CounterName("postern_dns_stalled_connections_total"), stalledConnections),
            CounterReading(CounterName("postern_dns_evictions_total"), evictions),
            CounterReading(CounterName("postern_dns_cached_answers"), UInt64(clamping: cachedAnswers)),
            CounterReading(CounterName("postern_dns_cached_octets"), UInt64(clamping: cachedOctets)),
        ]
    }
}
