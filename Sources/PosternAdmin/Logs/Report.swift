// A report as tables, which text and page both show: what stands in them is decided here once.

internal import PosternMail

/// What was counted, and of what time.
struct Report {
    var counts: ReportCounts
    /// What was asked for; nil: all that the logs hold.
    var since: UnixTime?
    var until: UnixTime?
    var made: UnixTime
    var reading: LogReader.Reading
    var time: LogTimeText
    /// Rows of a table at most.
    var top = 10
    /// The keys of the configuration, where it can be read.
    var configuredKeys: [DKIMKeyName] = []

    /// `2026-11-20 08:00 to 2026-11-21 08:00 (+01:00)`.
    var period: String {
        guard let from = since ?? counts.first, let to = until ?? counts.last ?? (since == nil ? nil : made) else {
            return "a time that no line tells"
        }
        return "\(time.minute(from)) to \(time.minute(to)) (\(time.zone))"
    }
}

struct ReportTable {
    struct Row {
        /// From the first column to the last one before the number.
        var words: [String]
        var count: Int
        /// What stands behind the number; empty where nothing does.
        var note = ""
    }

    var title: String
    /// A sentence below the title; empty where none is needed.
    var about = ""
    var rows: [Row]
    /// Counts of several kinds: bars would compare what cannot be compared.
    var isMixed = false

    var isEmpty: Bool { rows.allSatisfy { $0.count == 0 && $0.note.isEmpty } }
}

extension Report {
    /// All tables that have something to tell.
    var tables: [ReportTable] {
        [
            mail, verdicts, results, refusals, clients, deferredClients, senders, lists, greylist, limits, keys,
            undelivered,
            bySender, accounts, troubles,
        ].filter { !$0.isEmpty }
    }

    private func rows(_ list: TopList, words: Int = 1, note: (TopList.Entry) -> String = { _ in "" })
        -> [ReportTable.Row]
    {
        list.top(top).map { entry in
            var parts = entry.key[...].split(separator: 0x09, maxSplits: words - 1, omittingEmptySubsequences: false)
                .map { $0.shown }
            while parts.count < words { parts.append("") }
            let error = entry.error > 0 ? "at most \(entry.error) too many" : ""
            return ReportTable.Row(
                words: parts, count: entry.count,
                note: [note(entry), error].filter { !$0.isEmpty }.joined(separator: "; "))
        }
    }

    private func rest(_ list: TopList, _ noun: String) -> String {
        let more = list.distinct - min(top, list.distinct)
        return more > 0 ? "\(list.isExact ? "" : "more than ")\(more) more \(noun)" : ""
    }

    private func last(_ entry: TopList.Entry) -> String { entry.last.map { "last \(time.minute($0))" } ?? "" }

    private var mail: ReportTable {
        let others = max(0, counts.queued - counts.fromClients - counts.fromThisHost)
        return ReportTable(
            title: "Mail",
            rows: [
                .init(words: ["connections"], count: counts.connections),
                .init(
                    words: ["messages taken in"], count: counts.queued,
                    note:
                        "\(counts.fromClients) from clients, \(counts.fromThisHost) from this host, \(others) others, "
                        + ReportNumber.octets(counts.octets)),
                .init(words: ["recipients: delivered"], count: counts.sent),
                .init(words: ["recipients: bounced"], count: counts.bounced),
                .init(words: ["tries to be repeated"], count: counts.delayed),
                .init(words: ["messages given back after their last try"], count: counts.expired),
                .init(words: ["refused for good (5xx)"], count: counts.refusedForGood),
                .init(words: ["refused for now (4xx)"], count: counts.refusedForNow),
                .init(words: ["held or discarded"], count: counts.heldOrDiscarded),
            ].filter { $0.count > 0 }, isMixed: true)
    }

    private var verdicts: ReportTable {
        ReportTable(
            title: "Verdicts of Postern, by reason", about: rest(counts.verdicts, "reasons"),
            rows: rows(counts.verdicts, words: 3))
    }

    private var results: ReportTable {
        ReportTable(
            title: "SPF (MAIL FROM), DKIM (each signature) and DMARC", about: "", rows: rows(counts.results, words: 2))
    }

    private var refusals: ReportTable {
        ReportTable(
            title: "What Postfix answered", about: rest(counts.refusals, "answers"),
            rows: rows(counts.refusals, words: 2))
    }

    private var clients: ReportTable {
        let list = counts.refusedClients.total > 0 ? counts.refusedClients : counts.posternRefusedClients
        return ReportTable(
            title: "Clients refused for good", about: rest(list, "clients"),
            rows: rows(list) { [$0.detail[...].shown, last($0)].filter { !$0.isEmpty }.joined(separator: ", ") })
    }

    private var deferredClients: ReportTable {
        ReportTable(
            title: "Clients refused for now", about: rest(counts.deferredClients, "clients"),
            rows: rows(counts.deferredClients, note: last))
    }

    private var senders: ReportTable {
        ReportTable(
            title: "Senders refused for good", about: rest(counts.refusedSenders, "senders"),
            rows: rows(counts.refusedSenders))
    }

    private var lists: ReportTable {
        ReportTable(
            title: "DNS lists that hit",
            about: "Postern's lists where mail was refused by their score; Postfix's own, which postscreen asks too.",
            rows: rows(counts.lists) { _ in "postern-policy" } + rows(counts.postfixLists) { _ in "Postfix" })
    }

    private var greylist: ReportTable {
        let found = counts.greylist
        var rows = [
            ReportTable.Row(words: ["first tries"], count: found.firstTries),
            .init(words: ["came too early"], count: found.earlyTries),
            .init(
                words: ["came back"], count: found.cameBack,
                note: found.cameBack > 0
                    ? "after \(ReportNumber.duration(found.waited / found.cameBack)) in the mean" : ""),
        ]
        let names = GreylistReturns.bounds.map { "within \(ReportNumber.duration($0))" } + ["later"]
        rows += zip(names, found.delays).map { .init(words: ["  \($0)"], count: $1) }
        rows.append(.init(words: ["mail of those who are known"], count: found.known))
        return ReportTable(title: "Greylisting", rows: rows.filter { $0.count > 0 })
    }

    private var limits: ReportTable {
        func told(_ list: TopList, _ what: String) -> [ReportTable.Row] {
            rows(list, words: 2) { entry in
                [what, entry.detail[...].shown, last(entry)].filter { !$0.isEmpty }.joined(separator: "; ")
            }
        }
        return ReportTable(
            title: "Limits reached or nearly used up",
            rows: told(counts.limitsOver, "over") + told(counts.limitsNearing, "nearly used up"))
    }

    /// Those that signed, and those of the configuration that did not.
    private var keys: ReportTable {
        var found = rows(counts.keys, words: 3, note: last)
        let used = counts.keys.top(counts.keys.capacity).map { entry in
            entry.key[...].split(separator: 0x09, omittingEmptySubsequences: false).prefix(2).map { $0.shown }
        }
        for key in configuredKeys where !used.contains(["\(key.domain)", "\(key.selector)"]) {
            found.append(.init(words: ["\(key.domain)", "\(key.selector)", ""], count: 0, note: "not used"))
        }
        return ReportTable(title: "DKIM keys and their use", rows: found)
    }

    private var undelivered: ReportTable {
        ReportTable(
            title: "Why mail was not delivered", about: rest(counts.undelivered, "reasons"),
            rows: rows(counts.undelivered, words: 2))
    }

    private var bySender: ReportTable {
        ReportTable(
            title: "Senders of mail taken in", about: rest(counts.senders, "senders"), rows: rows(counts.senders))
    }

    private var accounts: ReportTable {
        ReportTable(
            title: "Logins that sent", about: rest(counts.accounts, "logins"), rows: rows(counts.accounts, note: last))
    }

    private var troubles: ReportTable {
        ReportTable(
            title: "Warnings and errors, someone should look", about: rest(counts.troubles, "texts"),
            rows: rows(counts.troubles, words: 2, note: last))
    }
}

enum ReportNumber {
    /// `12.3 MiB`.
    static func octets(_ count: Int) -> String {
        var (value, unit) = (Double(count), "octets")
        for larger in ["KiB", "MiB", "GiB", "TiB"] where value >= 1024 { (value, unit) = (value / 1024, larger) }
        guard unit != "octets" else { return "\(count) octets" }
        let tenths = Int((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(unit)"
    }

    /// `5 min`, `1 h`, `1.5 h`: one unit, one digit behind the point at most.
    static func duration(_ seconds: Int) -> String {
        let units = [(86_400, "d"), (3600, "h"), (60, "min")]
        for (size, name) in units where seconds >= size {
            let tenths = seconds * 10 / size
            return tenths % 10 == 0 ? "\(tenths / 10) \(name)" : "\(tenths / 10).\(tenths % 10) \(name)"
        }
        return "\(seconds) s"
    }

    /// `1 234 567`, the digits in threes.
    static func grouped(_ count: Int) -> String {
        let digits = Array(String(count.magnitude))
        var text = count < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text += " " }
            text.append(digit)
        }
        return text
    }
}
