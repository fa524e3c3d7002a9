// `postern dnsbl`: how the DNS lists are, by the daemon that asks them, and what they say of an address, asked here.

internal import ArgumentParser
internal import PosternAdmission
internal import PosternDNS
internal import PosternDaemon
internal import PosternMail

/// `postern dnsbl`.
struct DNSBLCommand: SubcommandGroup {
    static let configuration = CommandConfiguration(
        commandName: "dnsbl",
        abstract: "Looks after the DNS lists (RFC 5782).",
        discussion: """
            status asks postern-policy how the lists of [[dnsbl.list]] are; test asks the lists themselves about an \
            address. Query keys in zones are shown as (key).

            EXAMPLES
              postern dnsbl status
              postern dnsbl test 192.0.2.7

            EXIT STATUS
              0   done; test: on no list that counts
              1   status: a list is not asked; test: listed
              64  the command line is wrong
              69  postern-policy does not run
              78  the configuration is wrong
            """,
        subcommands: [DNSBLStatus.self, DNSBLTest.self])
}

struct DNSBLStatus: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Tells how the DNS lists are.",
        usage: "postern dnsbl status [<options>]",
        discussion: """
            One line a list: whether it is asked, and what came since the start of postern-policy: answers, those of \
            them that counted, questions without an answer. A list that lists everybody or nobody, answers with \
            errors or not at all is suspended, and comes back by itself once its test entries are right.

            With --json, one object on one line; what is not known is null:
              {"lists":[{"zone":"zen.spamhaus.org","by":"client","state":"working",
              "reason":null,"since":…,"last_probe":…,"next_probe":…,
              "lists_ipv6":true,"answers":7,"listings":1,"failures":0,
              "suspensions":0}]}
            state is working, unproved or suspended.

            EXAMPLES
              postern dnsbl status
              postern dnsbl status --json | jq '.lists[] | select(.state != "working")'

            EXIT STATUS
              0   all lists are asked
              1   one is not
              64  the command line is wrong
              69  postern-policy does not run, or does not answer

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @OptionGroup var place: ControlArguments

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let asked = DaemonControl(options, place)
        let document = try asked.document(of: .policy, ControlCommand("dnsbl status"))
        let lists = document["lists"]?.elements ?? []
        let status: ExitStatus = lists.allSatisfy { $0["state"]?.text == "working" } ? .done : .negative
        let head = ["ZONE", "BY", "STATE", "ANSWERS", "LISTED", "FAILED", ""]
        let rows = lists.map { list in
            [
                list.word("zone"), list.word("by"), list.word("state"), "\(list.count("answers"))",
                "\(list.count("listings"))", "\(list.count("failures"))", list.shown("reason") ?? "",
            ]
        }
        return options.output(
            lists.isEmpty ? "no lists are configured\n" : Columns.text([head] + rows),
            json: ["lists": .list(lists.map(JSONValue.init))], notes: asked.notes, status: status)
    }
}

struct DNSBLTest: Subcommand {
    static let configuration = CommandConfiguration(
        commandName: "test",
        abstract: "Asks the DNS lists about an address.",
        usage: "postern dnsbl test [<options>] <address>",
        discussion: """
            Asks each list of [[dnsbl.list]] that is about clients for its test entries and then for <address>, and \
            prints what came, the score, and the questions with their answers. postern-policy is not asked, nor told.

            With --json, one object on one line:
              {"score":4,"checks":[{"check":"list zen.spamhaus.org","outcome":"listed",
              "reason":…,"score":4,"answer":null,"shadow":false,"exchanges":[…]}]}
            outcome is listed, not_listed, unanswered, suspended or skipped.

            EXAMPLES
              postern dnsbl test 192.0.2.7
              postern dnsbl test 127.0.0.2 --json

            EXIT STATUS
              0   on no list, or on such only that speak for it
              1   its score is above 0
              64  the command line is wrong
              69  no list could be asked
              78  the configuration is wrong

            FILES
              \(DaemonArguments.defaultConfiguration)
            """)

    @OptionGroup var options: GlobalOptions
    @Argument(
        help: ArgumentHelp("The address, IPv4 or IPv6.", valueName: "address"),
        transform: { text in try IPAddress(argument: text) })
    var address: IPAddress

    func output(in surroundings: Surroundings) throws(CommandFailure) -> CommandOutput {
        let (configuration, notes) = try options.configurationNeeded(for: .policy, in: surroundings)
        let resolver = try options.resolver(LoadedConfiguration(configuration: configuration, notes: notes))
        let log = NoteCollector()
        let now = surroundings.now()
        let settings = configuration.dnsbl
        let lists = settings.lists.filter { $0.by == .client }
        let health = DNSBLHealth(lists)
        health.probe(now: now) { surroundings.dns(resolver, log) }
        let request = PolicyRequest(stage: .connect, [.clientAddress: Array("\(address)".utf8)])
        let finding = DNSBLJudge(settings.only(lists), health: health).finding(
            for: request, ruleScore: 0, wantsScore: true, telling: .everything, dns: surroundings.dns(resolver, log),
            now: now)
        let document: ControlDocument = [
            "score": .number(finding.score), "checks": .list(finding.lists.map(\.document)),
        ]
        let isAsked = finding.lists.contains { $0.outcome == .listed || $0.outcome == .notListed }
        let status: ExitStatus = finding.score > 0 ? .negative : isAsked ? .done : .unavailable
        let lines = ExplanationText.checks(document) + ["score: \(finding.score)"]
        return options.output(
            lines.map { $0 + "\n" }.joined(), json: JSONValue(document), notes: notes + log.notes(on: resolver),
            status: status)
    }
}

extension DNSBLSettings {
    /// The same with other lists.
    fileprivate func only(_ lists: [DNSBLListSettings]) -> DNSBLSettings {
        DNSBLSettings(
            rejectScore: rejectScore, deferScore: deferScore, budget: budget, tellsReason: tellsReason, shadow: shadow,
            lists: lists)
    }
}
