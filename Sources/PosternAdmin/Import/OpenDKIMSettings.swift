// opendkim.conf with its KeyTable, SigningTable and lists of hosts as `[dkim]`, `[[dkim.key]]` and `[host]`: the same
// mail gets signatures of the same domains and selectors. Source: opendkim.conf(5), OpenDKIM 2.11.

internal import PosternAuth
internal import PosternMail

struct OpenDKIMSettings {
    /// The last line of each parameter; by its name in lower case.
    private var parameters: [String: ParameterLine] = [:]
    private var tables = ImportedTables()
    private let read: (String) throws(ImportRefusal) -> [UInt8]
    private let end: ImportedLine
    private var keys = ImportedKeys()

    /// - Parameter keys: where keys shall lie; they stay where they are by default.
    /// - Parameter read: the octets of a file that the settings name.
    static func settings(
        of octets: [UInt8], file: String, keys: ImportedKeys = ImportedKeys(),
        reading read: @escaping (String) throws(ImportRefusal) -> [UInt8]
    ) -> ImportedSettings {
        var reader = OpenDKIMSettings(octets, file, read)
        reader.keys = keys
        reader.carryHosts()
        reader.carryVerifying()
        reader.carrySigning()
        reader.tellTheRest()
        return reader.tables.settings(head: reader.keys.head)
    }

    private init(_ octets: [UInt8], _ file: String, _ read: @escaping (String) throws(ImportRefusal) -> [UInt8]) {
        self.read = read
        end = ImportedLine(file: file, number: ImportedText.lines(octets).count, text: "(end)")
        for line in ParameterLine.lines(of: octets, file: file) { parameters[line.key] = line }
    }

    /// The parameter, which then is no longer among the rest.
    private mutating func take(_ name: String) -> ParameterLine? { parameters.removeValue(forKey: name.lowercased()) }

    private mutating func entries(_ name: String) -> (ParameterLine, OpenDKIMDataSet.Kind, [DataSetEntry])? {
        guard let parameter = take(name) else { return nil }
        do throws(ImportRefusal) {
            let (kind, entries) = try OpenDKIMDataSet.entries(of: parameter, reading: read)
            return (parameter, kind, entries)
        } catch {
            // The name of a database holds its password: dsn:mysql://user:password@host/…
            let kind = parameter.value.prefix { $0 != ":" }
            let isNamed = parameter.value.contains("://")
            tables.leave(isNamed ? parameter.line.named("\(parameter.name) \(kind):...") : parameter.line, error.reason)
            return nil
        }
    }

    private mutating func isTrue(_ name: String) -> Bool { take(name)?.truth ?? false }

    // MARK: Whose mail

    private mutating func carryHosts() {
        if let id = take("AuthservID"), id.value != "HOSTNAME" {
            tables.set("host", "authserv_id", ImportedSettings.quoted(id.value), from: id.line)
        }
        if let (parameter, _, entries) = entries("RemoveARFrom") {
            let ids = entries.map { $0.key.hasPrefix(".") ? "*" + $0.key : $0.key }
            tables.set("host", "strip_authserv_ids", ImportedTables.list(ids), from: parameter.line)
        }
        if let (parameter, _, entries) = entries("InternalHosts") {
            let clients = clients(entries)
            if !clients.holdLoopback {
                tables.warn(parameter.line, "mail of this machine itself is not signed: 127.0.0.1 is not among these")
            }
            tables.set("host", "networks", ImportedTables.list(clients.networks), from: parameter.line)
        }
        if let (parameter, _, entries) = entries("PeerList") {
            let networks = clients(entries).strangers
            if !networks.isEmpty { tables.set("host", "relays", ImportedTables.list(networks), from: parameter.line) }
        }
    }

    private mutating func clients(_ entries: [DataSetEntry]) -> ImportedClients {
        let clients = ImportedClients(
            entries.map { ImportedLine(file: $0.line.file, number: $0.line.number, text: $0.key) })
        for (line, reason) in clients.others { tables.leave(line, reason) }
        return clients
    }

    // MARK: Verifying

    private mutating func carryVerifying() {
        if let mode = parameters["mode"], !mode.value.contains("v") {
            tables.set("dkim", "verify", "false", from: mode.line, why: "Mode \(mode.value)")
        }
        if let bits = take("MinimumKeyBits") { tables.set("dkim", "min_rsa_bits", bits.value, from: bits.line) }
        if let most = take("MaximumSignaturesToVerify") {
            tables.set("dkim", "max_signatures", most.value, from: most.line)
        }
        if let facility = take("SyslogFacility") {
            tables.set("log", "facility", ImportedSettings.quoted(facility.value.lowercased()), from: facility.line)
        }
    }

    // MARK: Signing

    private mutating func carrySigning() {
        let mode = take("Mode")
        let isMultiple = isTrue("MultipleSignatures")
        let isWithSubdomains = isTrue("SubDomains")
        let keyTable = entries("KeyTable")
        let signingTable = entries("SigningTable")
        let (domains, selector, file) = (entries("Domain"), take("Selector"), take("KeyFile"))
        if let mode, !mode.value.contains("s") {
            for line in [keyTable?.0, signingTable?.0, domains?.0, file].compactMap(\.self) {
                tables.leave(line.line, "Mode \(mode.value) signs nothing")
            }
            return
        }
        var isSigning = false
        if let keyTable {
            isSigning = carry(keyTable.2, signedBy: signingTable, isMultiple: isMultiple)
            for line in [domains?.0, selector, file].compactMap(\.self) {
                tables.leave(line.line, "OpenDKIM does not read it beside a KeyTable")
            }
        } else if let domains, let selector, let file {
            isSigning = !domains.2.isEmpty
            for entry in domains.2 {
                let from = ["*@\(entry.key)"] + (isWithSubdomains ? ["*@*.\(entry.key)"] : [])
                append(entry.key, selector.value, file.value, from, entry.line)
            }
        } else if let line = domains?.0 ?? selector ?? file ?? signingTable?.0 {
            tables.leave(line.line, "expected Domain, Selector and KeyFile, or KeyTable and SigningTable")
        }
        carryForms(isSigning)
    }

    /// How signatures look.
    private mutating func carryForms(_ isSigning: Bool) {
        let forms = take("Canonicalization")
        if let forms {
            let text = forms.value.contains("/") ? forms.value : forms.value + "/simple"  // dkimf_config_load
            tables.set("dkim", "canonicalization", ImportedSettings.quoted(text.lowercased()), from: forms.line)
        } else if isSigning {
            tables.set("dkim", "canonicalization", "\"simple/simple\"", from: end, why: "OpenDKIM's default")
            tables.warn(end, "canonicalization simple/simple survives hardly any relay: relaxed/relaxed is better")
        }
        if let seconds = take("SignatureTTL") {
            tables.set("dkim", "expire", ImportedSettings.quoted(seconds.value + "s"), from: seconds.line)
        }
        if let (parameter, _, entries) = entries("OversignHeaders") {
            // Ours are oversigned, the optional ones where they are in the message.
            let ours = Set(DKIMSigning.defaultFields.map { Array($0.name.utf8).asciiLowercased })
            let others = entries.map(\.key).filter { !ours.contains(Array($0.utf8).asciiLowercased) }
            if let first = others.first {
                tables.leave(
                    parameter.line, "\(first) is not among the fields that are signed; say [dkim] sign_header_fields")
            }
        }
        if let (parameter, _, entries) = entries("SignHeaders") {
            let names = entries.map(\.key)
            if names.contains(where: { $0 == "*" || $0.hasPrefix("+") || $0.hasPrefix("-") }) {
                tables.leave(parameter.line, "expected names of fields: changes to OpenDKIM's own list are not ours")
            } else {
                tables.set("dkim", "sign_header_fields", ImportedTables.list(names), from: parameter.line)
            }
        }
    }

    /// - Returns: whether any key signs.
    private mutating func carry(
        _ keys: [DataSetEntry], signedBy signing: (ParameterLine, OpenDKIMDataSet.Kind, [DataSetEntry])?,
        isMultiple: Bool
    ) -> Bool {
        guard let signing else {
            for key in keys { tables.leave(key.line, "expected a SigningTable that says for whom it signs") }
            return false
        }
        let lines = SigningLine.lines(of: signing.2, signing.1, isMultiple: isMultiple, &tables)
        let names = Set(keys.map(\.key))
        let linesByName = Dictionary(grouping: lines, by: \.keyName)
        for line in lines where !names.contains(line.keyName) {
            tables.leave(line.line, "expected the name of a key of the KeyTable, found \(line.keyName)")
        }
        var isSigning = false
        for key in keys {
            let own = linesByName[key.key] ?? []
            let parts = key.value.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 3 else {
                tables.leave(key.line, "expected DOMAIN:SELECTOR:FILE after the key's name")
                continue
            }
            guard !own.isEmpty else {
                tables.leave(key.line, "no line of the SigningTable that counts names it")
                continue
            }
            guard parts[2].hasPrefix("/") || parts[2].hasPrefix("./") || parts[2].hasPrefix("../") else {
                tables.leave(key.line, "expected a file: put the key into one")
                continue
            }
            isSigning = true
            // `%` is the author's own domain.
            let domains = parts[0] == "%" ? own.map(\.authors.domain) : [parts[0]]
            for domain in Self.once(domains) {
                let signed = parts[0] == "%" ? own.filter { $0.authors.domain == domain } : own
                if parts[0] == "%", let below = signed.first(where: \.authors.isBelow) {
                    tables.warn(below.line, "mail of names below \(domain) is signed with d=\(domain)")
                }
                let file = parts[2].replacing("%", with: domain)
                append(domain, parts[1], file, Self.once(signed.map(\.authors.description)), key.line)
            }
        }
        return isSigning
    }

    private mutating func append(
        _ domain: String, _ selector: String, _ file: String, _ from: [String], _ line: ImportedLine
    ) {
        // A command names it too, in a comment and for a shell.
        guard file.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F && $0 != "\u{FFFD}" }) else {
            tables.leave(line, "expected a file's name in UTF-8 and without control characters")
            return
        }
        let isTaken = tables.append(
            "dkim.key",
            [
                ("domain", ImportedSettings.quoted(domain)), ("selector", ImportedSettings.quoted(selector)),
                ("file", ImportedSettings.quoted(keys.place(of: file, domain, selector))),
                ("from", ImportedTables.list(from)),
            ], from: line)
        if isTaken { keys.copy(file, domain, selector) }
    }

    private static func once(_ texts: [String]) -> [String] {
        var seen: Set<String> = []
        return texts.filter { seen.insert($0).inserted }
    }

    // MARK: The rest

    /// About the program itself, its logs and files, or done here anyway.
    private static let needless: Set<String> = [
        "alwaysaddarheader", "autorestart", "autorestartcount", "autorestartrate", "background", "basedirectory",
        "changerootdirectory", "clockdrift", "diagnosticdirectory", "disablecryptoinit", "dnsconnect", "dnstimeout",
        "enablecoredumps", "externalignorelist", "fixcrlf", "keeptemporaryfiles", "logresults", "logwhy", "milterdebug",
        "noheaderb", "pidfile", "querycache", "requiresafekeys", "resolvertracing",
        "signaturealgorithm", "softwareheader", "syslog", "syslogname", "syslogsuccess", "temporarydirectory",
        "testpublickeys",
        "trustanchorfile", "umask", "userid", "weaksyntaxchecks",
    ]

    private static let reasons: [String: String] = [
        "bodylengthdb": "signatures without a body length only: whatever was added behind it would pass",
        "dontsignmailto": "whether mail is signed does not depend on its recipients",
        "exemptdomains": "everybody can write a From: whose mail is judged does not depend on it",
        "include": "import the file that it names by itself",
        "macrolist": "signed is mail of host.networks and of who logged in; name further services in master.cf",
        "maximumsignedbytes": "signatures without a body length only: whatever was added behind it would pass",
        "mta": "signed is mail of host.networks and of who logged in; name further services in master.cf",
        "nameservers": "say [dns] upstream, for all daemons",
        "omitheaders": "say [dkim] sign_header_fields, the fields that are signed",
        "quarantine": "a signature that fails is no reason to do anything (RFC 6376 §6.1): DMARC is",
        "redirectfailuresto": "a signature that fails is no reason to do anything (RFC 6376 §6.1): DMARC is",
        "requiredheaders": "say [dmarc] on_invalid_author",
        "resolverconfiguration": "say [dns] upstream, for all daemons",
        "sendreports": "no reports are sent", "requestreports": "no reports are asked for",
        "senderheaders": "the author is who stands in From (RFC 6376 §5.4)",
        "socket": "listens at listen.dkim; see contrib/postfix/main.cf",
    ]

    /// Whose values are told to nobody.
    private static let secrets: Set<String> = ["ldapauthname", "ldapauthuser", "ldapbindpassword", "ldapbinduser"]

    private mutating func tellTheRest() {
        if let line = take("RemoveARAll"), line.truth != false {
            tables.leave(line.line, "only results in our own names are removed; say [host] strip_authserv_ids for more")
        }
        for parameter in parameters.values.sorted(by: { $0.line.number < $1.line.number })
        where !Self.needless.contains(parameter.key) {
            let reason =
                parameter.key.hasPrefix("on-")
                ? "a signature that fails is no reason to refuse mail (RFC 6376 §6.1): DMARC is"
                : Self.reasons[parameter.key] ?? "there is nothing like it"
            tables.leave(
                Self.secrets.contains(parameter.key) ? parameter.line.named("\(parameter.name) ...") : parameter.line,
                reason)
        }
    }
}
