// A replay's report for people: one screen of counts, then decisions one below another; and for programs.

internal import PosternAdmission
internal import PosternDaemon
internal import PosternMail

extension ReplayReport {
    /// Rows of each table of the summary.
    private static let maxRows = 20

    func text(_ time: LogTimeText) -> String {
        guard let first, let last else {
            return "No recorded requests\(older > 0 ? " of that time; \(older) are older" : "").\n"
        }
        func moment(_ point: UnixTime) -> String { "\(time.day(point)) \(time.clock(point))" }
        var text = "Requests from \(moment(first)) to \(moment(last))\n"
        for keeper in RecordKeeper.allCases {
            guard let share = shares[keeper] else { continue }
            text += "  postern-\(keeper.rawValue)  \(share.requests) requests, \(share.changed) decided otherwise"
            text += Self.percentage(share.changed, of: share.requests)
            text += share.doubtful > 0 ? ", \(share.doubtful) of them doubtful\n" : "\n"
        }
        text += trust
        if !changes.isEmpty {
            let rows = sortedChanges.prefix(Self.maxRows).map { change, count in
                [
                    "\(count.all)", "\(change.from) -> \(change.to)", Self.printable(change.check),
                    count.doubtful > 0 ? "\(count.doubtful) doubtful" : "",
                ]
            }
            text += "\nChanges\n" + Columns.lines(rows, numbers: 0..<1).map { "  \($0)\n" }.joined()
            if changes.count > rows.count { text += "  and \(changes.count - rows.count) more kinds\n" }
        }
        if !self.rows.isEmpty {
            text += "\nDecisions (\(self.rows.count) of \(wantedRows))\n"
            text += self.rows.map { Self.text(of: $0, at: moment($0.record.time)) }.joined()
        }
        return text
    }

    /// How far it can be believed.
    private var trust: String {
        var text = ""
        if hasBaseline {
            text +=
                "  the configuration in force, replayed, agrees with \(agreeing) of \(requests) decisions"
                + Self.percentage(agreeing, of: requests) + "\n"
        }
        for (name, count) in sortedUnknown.prefix(Self.maxRows) {
            text +=
                "  not known: \(Self.printable(name)) for \(count) requests: nobody asked then; taken for no answer\n"
        }
        if asked > 0 { text += "  asked now: \(asked) questions that nobody asked then\n" }
        if seeded > 0 {
            text += "  greylisting knew \(seeded) clients and senders from before: that is taken over\n"
        }
        if comingBack > 0 {
            text += "  greylisting lets \(comingBack) wait that came in then: each is taken to come back in time\n"
        }
        if cold > 0 {
            text +=
                "  limits begin with nothing counted: \(cold) requests of the first "
                + "\(Quantity.duration(span)) may be refused too seldom\n"
        }
        if older > 0 { text += "  \(older) older requests were used for what is remembered\n" }
        if reading.damaged > 0 { text += "  \(reading.damaged) damaged records were left out\n" }
        return text
    }

    private static func percentage(_ part: Int, of whole: Int) -> String {
        guard whole > 0, part > 0 else { return "" }
        let tenths = part * 1000 / whole  // rounded down: nothing is 100 % that is not
        return " (\(tenths / 10).\(tenths % 10) %)"
    }

    private static func text(of row: ChangedDecision, at time: String) -> String {
        let request = row.record.request
        let client = SMTPClient(name: Array(request[.clientName]), address: request.client, port: 0)
        var text = "  \(time)  \(LogText.client(client))"
        text += " from=<\(LogText.escaped(request[.sender]))> to=<\(LogText.escaped(request[.recipient]))>"
        text += " helo=<\(LogText.escaped(request[.heloName]))>"
        if !request[.saslUsername].isEmpty { text += " login=<\(LogText.escaped(request[.saslUsername]))>" }
        text += row.record.request.stage == .rcpt ? "\n" : " at \(row.record.request.stage.rawValue)\n"
        text += "    old  \(printable(row.old.told))\n    new  \(printable(row.new.told))\n"
        if let doubt = row.doubt { text += "    doubtful: \(printable(doubt))\n" }
        return text
    }

    /// Records are read from files: what is in them is shown with care.
    private static func printable(_ text: String) -> String {
        String(decoding: text.utf8.map { $0 >= 0x20 && $0 < 0x7F ? $0 : 0x3F }, as: UTF8.self)
    }

    // MARK: JSON

    var json: JSONValue {
        func moment(_ time: UnixTime?) -> JSONValue { time.map { JSONValue(.time($0)) } ?? .null }
        return [
            "from": moment(first), "until": moment(last), "requests": .number(requests), "changed": .number(changed),
            "agreeing": hasBaseline ? .number(agreeing) : .null,
            "daemons": .list(
                RecordKeeper.allCases.compactMap { keeper in
                    shares[keeper].map { share in
                        [
                            "daemon": .text("postern-\(keeper.rawValue)"), "requests": .number(share.requests),
                            "changed": .number(share.changed), "doubtful": .number(share.doubtful),
                            "agreeing": hasBaseline ? .number(share.agreeing) : .null,
                            "unknown": .number(share.unknown),
                        ]
                    }
                }),
            "changes": .list(
                sortedChanges.map { change, count in
                    [
                        "daemon": .text("postern-\(change.daemon.rawValue)"), "from": .text(change.from),
                        "to": .text(change.to), "check": .text(change.check), "count": .number(count.all),
                        "doubtful": .number(count.doubtful),
                    ]
                }),
            "unknown": .list(sortedUnknown.map { ["name": .text($0.name), "requests": .number($0.count)] }),
            "asked": .number(asked), "greylist_known_before": .number(seeded),
            "greylist_taken_to_come_back": .number(comingBack), "limits_cold": .number(cold),
            "older": .number(older), "damaged": .number(reading.damaged), "octets": .number(reading.octets),
            "decisions": .list(rows.map { Self.json(of: $0) }),
        ]
    }

    private static func json(of row: ChangedDecision) -> JSONValue {
        let request = row.record.request
        func text(_ attribute: PolicyAttribute) -> JSONValue { .octets(Array(request[attribute])) }
        return [
            "time": JSONValue(.time(row.record.time)),
            "daemon": .text(row.record.kind == .limits ? "postern-rate" : "postern-policy"),
            "stage": .text(request.stage.rawValue), "client": .optional(request.client),
            "client_name": text(.clientName),
            "helo": text(.heloName), "sender": text(.sender), "recipient": text(.recipient),
            "login": text(.saslUsername), "queue_id": text(.queueID), "old": json(of: row.old),
            "new": json(of: row.new), "doubt": .optional(row.doubt),
        ]
    }

    private static func json(of decision: RecordedDecision) -> JSONValue {
        [
            "action": .text(decision.word), "withheld": .boolean(decision.isWithheld),
            "check": .text(decision.check), "answer": .text(decision.answer), "reason": .text(decision.reason),
        ]
    }
}
