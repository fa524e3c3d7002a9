// opendmarc.conf as `[dmarc]` and `[host]`. What OpenDMARC does to mail without being told so counts as well: it lets
// everything in unless RejectFailures says otherwise. Source: opendmarc.conf(5), OpenDMARC 1.4.

internal import PosternMail

enum OpenDMARCSettings {
    static func settings(
        of octets: [UInt8], file: String, reading read: (String) throws(ImportRefusal) -> [UInt8]
    ) -> ImportedSettings {
        var tables = ImportedTables()
        var parameters: [String: ParameterLine] = [:]
        for line in ParameterLine.lines(of: octets, file: file) { parameters[line.key] = line }
        func take(_ name: String) -> ParameterLine? { parameters.removeValue(forKey: name.lowercased()) }
        let end = ImportedLine(file: file, number: ImportedText.lines(octets).count, text: "(end)")

        if let id = take("AuthservID"), id.value != "HOSTNAME" {
            tables.set("host", "authserv_id", ImportedSettings.quoted(id.value), from: id.line)
        }
        let rejects = take("RejectFailures")
        let isRejecting = rejects?.truth ?? false
        tables.set(
            "dmarc", "on_reject", isRejecting ? "\"reject\"" : "\"accept\"", from: rejects?.line ?? end,
            why: "RejectFailures \(isRejecting)")
        if isRejecting { tables.set("dmarc", "on_temperror", "\"defer\"", from: rejects?.line ?? end) }
        let holds = take("HoldQuarantinedMessages")
        let isHolding = holds?.truth ?? false
        tables.set(
            "dmarc", "on_quarantine", isHolding ? "\"hold\"" : "\"accept\"", from: holds?.line ?? end,
            why: "HoldQuarantinedMessages \(isHolding)")
        let several = take("RejectMultiValueFrom")
        let required = take("RequiredHeaders")
        let isStrict = several?.truth ?? false || required?.truth ?? false
        tables.set(
            "dmarc", "on_invalid_author", isStrict ? "\"reject\"" : "\"accept\"",
            from: several?.line ?? required?.line ?? end)
        if let required, required.truth == true {
            tables.warn(required.line, "of the header only From is looked at; Date and other fields are not")
        }
        if let suffixes = take("PublicSuffixList") {
            tables.set("dmarc", "discovery", "\"treewalk\"", from: suffixes.line)
            tables.warn(
                suffixes.line,
                "organizational domains are found in DNS (RFC 9989 §4.10); discovery = \"psl\" finds them as before")
        }
        if let facility = take("SyslogFacility") {
            tables.set("log", "facility", ImportedSettings.quoted(facility.value.lowercased()), from: facility.line)
        }
        if let hosts = take("IgnoreHosts") { carry(hosts, &tables, read) }
        if let logins = take("IgnoreAuthenticatedClients"), logins.truth == false {
            tables.leave(logins.line, "mail of who logged in is ours: it is signed and not judged")
        }
        if let spf = take("SPFIgnoreResults"), spf.truth == false {
            tables.leave(spf.line, "SPF is judged here: results of others in the header are not believed")
        }
        for line in parameters.values.sorted(by: { $0.line.number < $1.line.number }) where !needless.contains(line.key)
        {
            tables.leave(line.line, reasons[line.key] ?? "there is nothing like it")
        }
        return tables.settings(head: ["Of OpenDMARC's settings."])
    }

    /// A file of hosts, one a line.
    private static func carry(
        _ hosts: ParameterLine, _ tables: inout ImportedTables, _ read: (String) throws(ImportRefusal) -> [UInt8]
    ) {
        do throws(ImportRefusal) {
            let clients = ImportedClients(
                ParameterLine.lines(of: try read(hosts.value), file: hosts.value).map {
                    ImportedLine(file: hosts.value, number: $0.line.number, text: $0.name)
                })
            for (line, reason) in clients.others { tables.leave(line, reason) }
            guard !clients.strangers.isEmpty else { return }
            tables.set("host", "relays", ImportedTables.list(clients.strangers), from: hosts.line, why: "IgnoreHosts")
            tables.warn(
                hosts.line, "write those of them that hand in mail of yours into host.networks instead: it is signed")
        } catch {
            tables.leave(hosts.line, error.reason)
        }
    }

    /// About the program itself, its logs and files, or done here anyway.
    private static let needless: Set<String> = [
        "autorestart", "autorestartcount", "autorestartrate", "background", "basedirectory", "changerootdirectory",
        "dnstimeout", "enablecoredumps", "milterdebug", "pidfile", "recordallmessages", "softwareheader",
        "spfselfvalidate", "syslog", "umask", "userid",
    ]

    private static let reasons: [String: String] = [
        "copyfailuresto": "no reports are sent; facts.sqlite keeps what they would hold",
        "domainwhitelist": "ARC seals are not believed; say [[dmarc.exception]] for a forwarder's client or signature",
        "domainwhitelistfile":
            "ARC seals are not believed; say [[dmarc.exception]] for a forwarder's client or signature",
        "failurereports": "no reports are sent; facts.sqlite keeps what they would hold",
        "failurereportsbcc": "no reports are sent", "failurereportsonnone": "no reports are sent",
        "failurereportssentby": "no reports are sent", "reportcommand": "no reports are sent",
        "historyfile": "facts.sqlite in state.directory keeps what it holds",
        "ignoremailfrom": "everybody can write a From; say [[dmarc.exception]] with a client or a signing domain",
        "ignoremailto": "whether mail is judged does not depend on its recipients",
        "rejectstring": "replies are our own: they name the author's domain and the reason",
        "socket": "listens at listen.dmarc; see contrib/postfix/main.cf",
        "trustedauthservids": "SPF and DKIM are judged here: results of others in the header are not believed",
    ]
}
