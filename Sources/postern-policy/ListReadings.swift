// How the DNS lists are, as metrics. Their label is the zone, without keys; a zone that is asked about several things is
// one list.

import PosternAdmission
import PosternMail

enum ListReadings {
    /// Most lists that are told; a configuration has a few.
    private static let maxLists = 128

    static func name(_ noun: String, _ zone: String) -> CounterName {
        CounterName("postern_policy_dnsbl_\(noun)", "list", zone)
    }

    static func of(_ health: DNSBLHealth) -> [CounterReading] {
        let lists = Dictionary(grouping: health.statuses, by: \.zone).sorted { $0.key < $1.key }
        return lists.prefix(maxLists).flatMap { zone, statuses in
            func reading(_ noun: String, _ value: Int) -> CounterReading {
                CounterReading(name(noun, zone), UInt64(clamping: value))
            }
            func sum(_ number: KeyPath<DNSBLListStatus, Int>) -> Int {
                statuses.reduce(0) { $0 &+ $1[keyPath: number] }
            }
            return [
                reading("working", statuses.allSatisfy { $0.state == .working } ? 1 : 0),
                reading("answers_total", sum(\.answers)), reading("listings_total", sum(\.listings)),
                reading("failures_total", sum(\.failures)), reading("suspensions_total", sum(\.suspensions)),
            ]
        }
    }
}
