// policyd-spf.conf as `[spf]` and `[host]`. Its defaults reject by SPF's fail, which DMARC makes needless and which
// breaks forwarded mail: carried over, and said. Source: policyd-spf.conf(5), pypolicyd-spf 2.9.

internal import PosternMail

enum PolicydSPFSettings {
    static func settings(of octets: [UInt8], file: String) -> ImportedSettings {
        var tables = ImportedTables()
        var parameters: [String: ParameterLine] = [:]
        for line in ParameterLine.lines(of: octets, file: file, separator: UInt8(ascii: "=")) {
            parameters[line.name] = line
        }
        let end = ImportedLine(file: file, number: ImportedText.lines(octets).count, text: "(end)")
        func take(_ name: String) -> ParameterLine? { parameters.removeValue(forKey: name) }

        carrySender(take("Mail_From_reject"), end, &tables)
        if let helo = take("HELO_reject"), !["False", "No_Check", "Null"].contains(helo.value) {
            tables.leave(
                helo.line, "a HELO name is judged where the sender is null; say a rule with helo and spf for more")
        }
        if let line = take("PermError_reject"), isTrue(line) {
            tables.set("spf", "on_permerror", "\"reject\"", from: line.line)
        }
        if let line = take("TempError_Defer"), isTrue(line) {
            tables.set("spf", "on_temperror", "\"defer\"", from: line.line)
        }
        for name in ["TestOnly", "defaultSeedOnly"] {
            if let line = take(name), line.value == "0" { tables.set("spf", "shadow", "true", from: line.line) }
        }
        let form = take("Header_Type")
        if let id = take("Authserv_Id"), id.value != "HOSTNAME" {
            // policyd-spf.conf(5): Received-SPF, unless it says otherwise. Debian's sample has HEADER here, and no AR.
            if form?.value == "AR" {
                tables.set("host", "authserv_id", ImportedSettings.quoted(id.value), from: id.line)
            } else {
                tables.leave(id.line, "policyd-spf writes it with Header_Type = AR alone; say [host] authserv_id")
            }
        }
        var relays: [String] = []
        for name in ["skip_addresses", "Whitelist"] {
            guard let parameter = take(name) else { continue }
            let clients = ImportedClients(
                parameter.value.split(separator: ",").map {
                    ImportedLine(
                        file: file, number: parameter.line.number, text: $0.trimmingSpaces)
                })
            for (line, reason) in clients.others { tables.leave(line, reason) }
            for network in clients.strangers where !relays.contains(network) { relays.append(network) }
            guard !clients.strangers.isEmpty else { continue }
            tables.set("host", "relays", ImportedTables.list(relays), from: parameter.line)
            tables.warn(
                parameter.line,
                "DKIM and DMARC are not judged for host.relays either; write a forwarder into "
                    + "[[dmarc.exception]] and hosts of yours into host.networks instead")
        }
        for line in parameters.values.sorted(by: { $0.line.number < $1.line.number })
        where !needless.contains(line.name) {
            if line.name == "No_Mail", !isTrue(line) { continue }
            tables.leave(line.line, reasons[line.name] ?? "there is nothing like it")
        }
        return tables.settings(head: ["Of policyd-spf's settings; postern-dmarc does it."])
    }

    /// What becomes of results for the envelope sender.
    private static func carrySender(_ line: ParameterLine?, _ end: ImportedLine, _ tables: inout ImportedTables) {
        let place = line?.line ?? end
        switch line?.value ?? "Fail" {
        case "Fail": tables.set("spf", "on_fail", "\"reject\"", from: place, why: "Mail_From_reject Fail")
        case "Softfail", "SPF_Not_Pass":
            tables.set("spf", "on_fail", "\"reject\"", from: place)
            tables.set("spf", "on_softfail", "\"reject\"", from: place)
            if line?.value == "SPF_Not_Pass" {
                tables.leave(
                    place, "neutral is no reason to refuse (RFC 7208 §2.6.2); fail and softfail are carried over")
            }
        case "False", "No_Check": return
        default:
            tables.leave(place, "expected Fail, Softfail, SPF_Not_Pass, False or No_Check")
            return
        }
        tables.warn(place, "forwarded mail fails SPF and is refused before DMARC may let it pass by its signature")
    }

    private static func isTrue(_ line: ParameterLine) -> Bool { line.value == "True" }

    /// About the program itself and its logs, or done here anyway.
    private static let needless: Set<String> = [
        "Hide_Receiver", "Lookup_Time", "Mock", "PidFile", "QueueID", "SPF_Enhanced_Status_Codes", "UMask", "UserID",
        "Void_Limit", "Whitelist_Lookup_Time", "debugLevel",
    ]

    private static let reasons: [String: String] = [
        "Domain_Whitelist": "say [[dmarc.exception]] with the forwarder's clients or signing domain",
        "Domain_Whitelist_PTR": "say [[dmarc.exception]] with the forwarder's clients or signing domain",
        "HELO_Whitelist": "say [[dmarc.exception]] with the forwarder's clients or signing domain",
        "HELO_pass_restriction": "say a [[rule]] with spf = [\"pass\"]",
        "Mail_From_pass_restriction": "say a [[rule]] with spf = [\"pass\"]",
        "IntHosts": "say [host] networks", "InternalHosts": "say [host] networks",
        "MacroList": "mail of who logged in is ours: SPF is not judged for it",
        "No_Mail": "DMARC refuses for domains that publish a policy; say a [[rule]] with sender_domain for others",
        "Per_User": "settings hold for all recipients",
        "Prospective": "ask by: postern spf --client ADDRESS --sender ADDRESS",
        "Reason_Message": "replies are our own: they name the domain and the reason",
        "Socket": "listens at listen.dmarc; see contrib/postfix/main.cf",
        "Reject_Not_Pass_Domains": "say a [[rule]] with sender_domain and spf = [\"neutral\", \"softfail\"]",
    ]
}

extension Substring {
    fileprivate var trimmingSpaces: String {
        String(decoding: ImportedText.trimmed(Array(utf8)[...]), as: UTF8.self)
    }
}
