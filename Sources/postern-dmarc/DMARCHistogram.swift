// What postern-dmarc measures: its verdicts, and what they waited for DNS.

import PosternMail

enum DMARCHistogram: Int, HistogramSet {
    case verdict, dnsWait

    var name: CounterName {
        switch self {
        case .verdict: CounterName("postern_dmarc_verdict_seconds")
        case .dnsWait: CounterName("postern_dmarc_dns_wait_seconds")
        }
    }
}
