// What postern-policy's checks measure; how long decisions take the door measures.

import PosternMail

enum CheckHistogram: Int, HistogramSet {
    case dnsWait

    var name: CounterName { CounterName("postern_policy_dns_wait_seconds") }
}
