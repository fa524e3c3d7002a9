// A report for programs: all counts, and the first of each list. Values in lower case; null where nothing is known.

internal import PosternMail

extension Report {
    var json: JSONValue {
        .object(
            [
                .init(key: "from", value: time(since ?? counts.first)),
                .init(key: "until", value: time(until ?? counts.last)),
                .init(
                    key: "read",
                    value: [
                        "lines": .number(reading.lines), "octets": .number(reading.octets),
                        "postfix": .number(counts.postfixLines), "postern": .number(counts.posternLines),
                    ]),
                .init(key: "postfix", value: postfix), .init(key: "postern", value: postern),
                .init(key: "series", value: series),
                .init(
                    key: "troubles",
                    value: list(counts.troubles, ["program", "text"])),
            ])
    }

    private func time(_ moment: UnixTime?) -> JSONValue { .optional(moment.map { time.rfc3339($0) }) }

    private var postfix: JSONValue {
        .object([
            .init(key: "connections", value: .number(counts.connections)),
            .init(key: "messages", value: .number(counts.queued)),
            .init(key: "messages_from_clients", value: .number(counts.fromClients)),
            .init(key: "messages_from_this_host", value: .number(counts.fromThisHost)),
            .init(key: "octets", value: .number(counts.octets)),
            .init(key: "recipients_sent", value: .number(counts.sent)),
            .init(key: "recipients_bounced", value: .number(counts.bounced)),
            .init(key: "tries_deferred", value: .number(counts.delayed)),
            .init(key: "messages_expired", value: .number(counts.expired)),
            .init(key: "refused_for_good", value: .number(counts.refusedForGood)),
            .init(key: "refused_for_now", value: .number(counts.refusedForNow)),
            .init(key: "held_or_discarded", value: .number(counts.heldOrDiscarded)),
            .init(key: "answers", value: list(counts.refusals, ["code", "reason"])),
            .init(key: "clients_refused_for_good", value: list(counts.refusedClients, ["client"])),
            .init(key: "clients_refused_for_now", value: list(counts.deferredClients, ["client"])),
            .init(key: "senders_refused_for_good", value: list(counts.refusedSenders, ["sender"])),
            .init(key: "lists", value: list(counts.postfixLists, ["zone"])),
            .init(key: "undelivered", value: list(counts.undelivered, ["status", "reason"])),
            .init(key: "senders", value: list(counts.senders, ["sender"])),
            .init(key: "logins", value: list(counts.accounts, ["login"])),
        ])
    }

    private var postern: JSONValue {
        let greylist = counts.greylist
        return .object([
            .init(key: "verdicts", value: list(counts.verdicts, ["daemon", "action", "reason"], most: .max)),
            .init(key: "results", value: list(counts.results, ["method", "result"], most: .max)),
            .init(key: "clients_refused", value: list(counts.posternRefusedClients, ["client"])),
            .init(key: "lists", value: list(counts.lists, ["zone"])),
            .init(
                key: "greylist",
                value: [
                    "first_tries": .number(greylist.firstTries), "early_tries": .number(greylist.earlyTries),
                    "came_back": .number(greylist.cameBack), "known": .number(greylist.known),
                    "seconds_waited": .number(greylist.waited),
                    "delays": .list(
                        zip(GreylistReturns.bounds.map(Optional.init) + [nil], greylist.delays).map { bound, count in
                            ["at_most_seconds": .optional(bound), "count": .number(count)]
                        }),
                ]),
            .init(key: "limits_over", value: list(counts.limitsOver, ["limit", "key"])),
            .init(key: "limits_nearly_used_up", value: list(counts.limitsNearing, ["limit", "key"])),
            .init(key: "keys", value: list(counts.keys, ["domain", "selector", "algorithm"], most: .max)),
        ])
    }

    private var series: JSONValue {
        let kinds = ["queued", "quarantined", "deferred", "refused"]
        return [
            "seconds": .number(Int(counts.series.width)),
            "bars": .list(
                counts.series.all.map { bar in
                    .object(
                        [.init(key: "start", value: .text(time.rfc3339(bar.start)))]
                            + zip(kinds, bar.counts).map { .init(key: $0, value: .number($1)) })
                }),
        ]
    }

    private func list(_ list: TopList, _ names: [String], most: Int? = nil) -> JSONValue {
        .list(
            list.top(most ?? top).map { entry in
                let parts = entry.key[...].split(
                    separator: 0x09, maxSplits: names.count - 1, omittingEmptySubsequences: false)
                var members = names.enumerated().map { index, name in
                    JSONValue.Member(key: name, value: .octets(Array(parts.dropFirst(index).first ?? [])))
                }
                members.append(.init(key: "count", value: .number(entry.count)))
                members.append(.init(key: "at_most_too_many", value: .number(entry.error)))
                members.append(.init(key: "last", value: time(entry.last)))
                return .object(members)
            })
    }
}
