// The manual page of each daemon, and postern.toml(5): what they are called, what they do and which tables they read is
// declared beside the code that does it.

extension ConfigurationRole {
    /// What the daemon does, for its help and its manual page.
    public var purpose: String {
        switch self {
        case .dkim: "signs and verifies DKIM for Postfix, as a milter"
        case .dmarc: "judges SPF, DKIM and DMARC for Postfix, as a milter"
        case .policy: "rules, DNS lists and greylisting, as a policy service of Postfix"
        case .rate: "limits what clients and accounts send, as a policy service of Postfix"
        case .dns: "the DNS cache that all of Postern's daemons share"
        case .check: "looks after Postern, the daemons beside Postfix"
        }
    }

    /// What it keeps in `state.directory`.
    private var stateFile: String? {
        switch self {
        case .dmarc: "facts.sqlite"
        case .policy: "greylist.sqlite"
        case .rate: "limits.journal"
        case .dns: "dns.snapshot"
        case .dkim: "dkim-keys"
        case .check: nil
        }
    }

    /// The daemon's page of the manual.
    public var manualPage: ManualPage {
        var page = ManualPage(userName, section: 8, purpose: purpose)
        page.section("Synopsis")
        page.paragraph("\(userName) [--config FILE]")
        page.section("Description")
        let read = Configuration.schema.filter { tables?.contains($0.name) ?? false }
        let spare = read.filter { essentialTables?.contains($0.name) == false }.map(\.header)
        let exception = spare.isEmpty ? "" : ", but for \(spare.joined(separator: ", ")), which it can do without"
        page.paragraph(
            "Reads these tables of postern.toml(5): " + read.map(\.header).joined(separator: ", ")
                + ". A file that is wrong in one of them does not let it start\(exception); one that is wrong elsewhere is "
                + "warned of."
        )
        page.help(DaemonArguments.helpText(program: userName, purpose: purpose))
        page.section("Signals")
        page.entry(
            "SIGHUP", "Reads the configuration again. A flawless file is taken whole, any other changes nothing.")
        page.entry("SIGTERM", "Takes no more sessions, ends those that are open, and stops.")
        page.section("Files")
        page.entry(DaemonArguments.defaultConfiguration, "The configuration.")
        page.entry("/run/postern/\(userName).control", "The control socket, which postern(1) asks.")
        if let stateFile {
            page.entry(
                "/var/lib/postern/\(stateFile)", "What it remembers over a restart; ask by postern(1), not by hand.")
            if let keeper = RecordKeeper(rawValue: rawValue) {
                page.entry(
                    "/var/lib/postern/\(keeper.prefix)*",
                    "Requests that it has judged, with the addresses in them, if policy.record says so; for postern "
                        + "replay.")
            }
        }
        page.section("See also")
        page.paragraph("postern(1), postern.toml(5)")
        return page
    }

    /// Every daemon's page.
    public static var manualPages: [ManualPage] { allCases.filter { $0 != .check }.map(\.manualPage) }
}

extension SampleConfiguration {
    /// postern.toml(5): every table and key with its sentence and its default.
    public static var manualPage: ManualPage {
        var page = ManualPage("postern.toml", section: 5, purpose: "configuration of Postern's daemons")
        page.section("Description")
        page.paragraph(
            "One file in TOML 1.0 for all daemons. An empty file is a good one: verify, strip forged results, add ours; "
                + "refuse nothing. postern check reads a file and tells what is wrong, with line and column.")
        page.paragraph(
            "Durations are written \"300ms\" \"90s\" \"5m\" \"2h\" \"35d\", sizes \"64MiB\". A list takes values and "
                + "\"file:NAME\": one value a line, # comments. Paths are relative to the file's folder.")
        page.section("Tables")
        for table in Configuration.schema.flatMap(\.withAllBelow) {
            page.subsection(table.header)
            page.paragraph(table.doc)
            for key in table.keys where key.isInSample {
                page.entry("\(key.name) = \(key.sample)", key.isRequired ? "\(key.doc) Required." : key.doc)
            }
        }
        page.section("Files")
        page.entry(DaemonArguments.defaultConfiguration, "Where it is looked for.")
        page.section("See also")
        page.paragraph("postern(1)" + ConfigurationRole.manualPages.map { ", \($0.name)(\($0.section))" }.joined())
        return page
    }
}
