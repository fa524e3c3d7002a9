// What `postern import` makes of the configuration of OpenDKIM, OpenDMARC, policyd-spf, postgrey, anvil and postfwd: what
// is printed is taken by whoever reads the configuration, and all else is told with its line.

import Foundation
import PosternDaemon
import PosternMail
import TestSupport
import Testing

@testable import PosternAdmin

@Suite("import of peers") struct ImportPeersTests {
    /// What a line becomes, or a part of the reason why it is left out, or of a warning.
    struct Row: Sendable, CustomStringConvertible {
        let text: String
        var toml: [String] = []
        var leftOut: [String] = []
        var warned: [String] = []
        var description: String { text }
    }

    private static func check(_ settings: ImportedSettings, _ row: Row) {
        let problems = Configuration.read(Array(settings.toml.utf8), file: "p", folder: "/", for: .check).problems
        // There are no keys on this machine.
        #expect(problems.filter { !$0.keyPath.hasSuffix(".file") }.map(\.description) == [], "\(settings.toml)")
        for part in row.toml {
            #expect(settings.toml.contains(part), "\(part) in \(settings.toml) left out \(settings.leftOut)")
        }
        #expect(settings.leftOut.count == row.leftOut.count, "\(settings.leftOut)")
        for (remark, part) in zip(settings.leftOut, row.leftOut) { #expect(remark.text.contains(part), "\(remark)") }
        #expect(settings.warnings.count == row.warned.count, "\(settings.warnings)")
        for (remark, part) in zip(settings.warnings, row.warned) { #expect(remark.text.contains(part), "\(remark)") }
    }

    // MARK: OpenDKIM

    private static let files: [String: String] = [
        "/etc/dkim/trusted": "127.0.0.1\nlocalhost\n192.0.2.7/24\n2001:db8::/32\nmail.example.com\n!192.0.2.9\n",
        "/etc/dkim/keys":
            "# names\nmain example.com:2026:/etc/dkim/example.pem\nshop shop.example:s1:/etc/dkim/shop.pem\n"
            + "any %:all:/etc/dkim/%.pem\nspare example.com:old:/etc/dkim/old.pem\n"
            + "inline example.com:x:MIIEpAIBAAKCAQEA\n",
        "/etc/dkim/signing":
            "*@example.com main\n*@*.example.com main\nann@shop.example main\n*@shop.example shop\n"
            + "*@a.example any\n*@b.example any\n* main\n",
        "/etc/dkim/plain": "example.com main\nann@example.com shop\n.example.com spare\n",
    ]

    private static func opendkim(_ text: String) -> ImportedSettings {
        OpenDKIMSettings.settings(of: Array(text.utf8), file: "opendkim.conf") { name throws(ImportRefusal) in
            guard let file = files[name] else { throw ImportRefusal(reason: "\(name): there is no such file") }
            return Array(file.utf8)
        }
    }

    @Test(
        "opendkim.conf",
        arguments: [
            Row(text: "Syslog yes\nUMask 007\n# words\n\nPidFile /run/x.pid\nOversignHeaders From\n"),
            Row(
                text: "Domain example.com\nSelector 2020\nKeyFile /etc/dkimkeys/example.private\n",
                toml: [
                    "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"2020\"\n"
                        + "file = \"/etc/dkimkeys/example.private\"\nfrom = [\"*@example.com\"]\n",
                    "canonicalization = \"simple/simple\"  # OpenDKIM's default",
                ], warned: ["relaxed/relaxed"]),
            Row(
                text: "domain a.example, b.example\nSELECTOR s\nKeyFile /k\nSubDomains yes\nCanonicalization relaxed\n",
                toml: [
                    "from = [\"*@a.example\", \"*@*.a.example\"]", "from = [\"*@b.example\", \"*@*.b.example\"]",
                    "canonicalization = \"relaxed/simple\"",
                ]),
            Row(
                text: "Mode v\nDomain example.com\nSelector s\nKeyFile /k\n",
                leftOut: ["signs nothing", "signs nothing"]),
            Row(text: "Mode s\n", toml: ["[dkim]\nverify = false"]),
            Row(text: "Selector s\n", leftOut: ["expected Domain, Selector and KeyFile"]),
            Row(
                text: "InternalHosts refile:/etc/dkim/trusted\n",
                toml: [
                    "[host]\nnetworks = [\"127.0.0.1/32\", \"127.0.0.0/8\", \"::1/128\", \"192.0.2.0/24\", \"2001:db8::/32\"]"
                ],
                leftOut: ["a client's name", "exclusion"]),
            Row(
                text: "InternalHosts 192.0.2.1,2001:db8::1\n",
                toml: ["networks = [\"192.0.2.1/32\", \"2001:db8::1/128\"]"],
                warned: ["this machine itself"]),
            Row(text: "InternalHosts /nowhere\n", leftOut: ["there is no such file"]),
            Row(text: "InternalHosts dsn:mysql://u:p@h/d\n", leftOut: ["a database"]),
            Row(text: "PeerList 127.0.0.1, 198.51.100.0/24\n", toml: ["relays = [\"198.51.100.0/24\"]"]),
            Row(
                text: "AuthservID mx.example\nRemoveARFrom a.example,.b.example\n",
                toml: ["authserv_id = \"mx.example\"", "strip_authserv_ids = [\"a.example\", \"*.b.example\"]"]),
            Row(text: "AuthservID HOSTNAME\n"),
            Row(
                text: "MinimumKeyBits 2048\nMaximumSignaturesToVerify 5\nSignatureTTL 86400\nSyslogFacility MAIL\n",
                toml: ["min_rsa_bits = 2048", "max_signatures = 5", "expire = \"86400s\"", "facility = \"mail\""]),
            Row(text: "MinimumKeyBits many\n", leftOut: ["expected a number"]),
            Row(text: "SignHeaders from,to,subject\n", toml: ["sign_header_fields = [\"from\", \"to\", \"subject\"]"]),
            Row(text: "SignHeaders *,+x-foo\n", leftOut: ["names of fields"]),
            Row(
                text: "On-BadSignature reject\nSocket local:/x\nNameservers 192.0.2.1\nInclude /y\nNewKnob 1\n",
                leftOut: [
                    "no reason to refuse", "listens at listen.dkim", "[dns] upstream", "by itself", "nothing like it",
                ]),
            Row(
                text:
                    "KeyTable file:/etc/dkim/keys\nSigningTable refile:/etc/dkim/signing\nCanonicalization simple\nDomain x.example\n",
                toml: [
                    "domain = \"example.com\"\nselector = \"2026\"\nfile = \"/etc/dkim/example.pem\"\n"
                        + "from = [\"*@example.com\", \"*@*.example.com\", \"ann@shop.example\"]",
                    "domain = \"shop.example\"\nselector = \"s1\"\nfile = \"/etc/dkim/shop.pem\"\nfrom = [\"*@shop.example\"]",
                    "domain = \"a.example\"\nselector = \"all\"\nfile = \"/etc/dkim/a.example.pem\"\nfrom = [\"*@a.example\"]",
                    "domain = \"b.example\"\nselector = \"all\"\nfile = \"/etc/dkim/b.example.pem\"\nfrom = [\"*@b.example\"]",
                    "canonicalization = \"simple/simple\"\n",
                ], leftOut: ["a pattern with a domain", "names it", "names it", "beside a KeyTable"],
                warned: ["mail of ann@shop.example by main alone"]),
            // Looked up: addresses before hosts before domains, whatever their order in the file.
            Row(
                text: "KeyTable /etc/dkim/keys\nSigningTable /etc/dkim/plain\nCanonicalization relaxed/relaxed\n",
                toml: ["from = [\"ann@example.com\"]", "from = [\"*@example.com\"]", "from = [\"*@*.example.com\"]"],
                leftOut: ["names it", "names it"], warned: ["mail of ann@example.com by shop alone"]),
            // Every key that matches signs.
            Row(
                text: "KeyTable k1=example.com:a:/a,k2=example.com:b:/b\n"
                    + "SigningTable csl:example.com=k1,example.com=k2\nMultipleSignatures yes\nCanonicalization relaxed/relaxed\n",
                toml: ["selector = \"a\"", "selector = \"b\""]),
            Row(
                text: "KeyTable k1=example.com:a:/a,k2=example.com:b:/b\n"
                    + "SigningTable example.com=k1,example.com=k2\nCanonicalization relaxed/relaxed\n",
                toml: ["selector = \"a\""], leftOut: ["no line of the SigningTable", "tried before"]),
            Row(text: "KeyTable k1=example.com:a:/a\n", leftOut: ["expected a SigningTable"]),
            // A file of another's making, whose controls TOML takes in no comment, and no shell either.
            Row(text: "Mode x\u{1}\ry\u{7F}z\n", toml: ["verify = false  # Mode x\\x01\\x0Dy\\x7Fz\n"]),
            Row(
                text: "Domain example.com\nSelector s\nKeyFile /a\u{1}\rb\nCanonicalization relaxed/relaxed\n",
                leftOut: ["without control characters"]),
            Row(
                text:
                    "KeyTable k=example.com:s:/k\nSigningTable *@example.com=k,example.com=k\nCanonicalization relaxed\n",
                toml: ["from = [\"*@example.com\"]"], leftOut: ["a refile: alone"]),
            Row(text: "OversignHeaders from, subject\nRemoveARAll no\n"),
            Row(
                text: "OversignHeaders From,X-Foo\nRemoveARAll yes\n", leftOut: ["X-Foo is not", "strip_authserv_ids"]),
        ])
    func opendkim(row: Row) { Self.check(Self.opendkim(row.text), row) }

    @Test("passwords in settings are told to nobody")
    func secrets() {
        let settings = Self.opendkim(
            "KeyTable dsn:mysql://ann:hunter2@db/t\nSigningTable ldap://ann:hunter2@db/x\nLDAPBindPassword hunter2\n")
        let told = settings.leftOut.map(\.line.text)
        #expect(told == ["KeyTable dsn:...", "SigningTable ldap:...", "LDAPBindPassword ..."])
        #expect(!"\(settings)".contains("hunter2"))
    }

    @Test("only of a key that is in the configuration a command makes a copy")
    func copies() {
        let keys = ImportedKeys(folder: "/etc/postern/keys")
        let text =
            "KeyTable a=../../x:s:/a,b=example.com:../s:/b,c=example.com:s:/c\n"
            + "SigningTable example.com=a,.example.com=b,ann@example.com=c\nMultipleSignatures yes\n"
        let settings = OpenDKIMSettings.settings(of: Array(text.utf8), file: "f", keys: keys) {
            name throws(ImportRefusal) in throw ImportRefusal(reason: name)
        }
        #expect(settings.leftOut.count == 2, "\(settings.leftOut)")
        let commands = settings.toml.split(separator: "\n").filter { $0.hasPrefix("# run: ") }
        #expect(
            commands == [
                "# run: install -D -m 0400 -o postern-dkim -g postern-dkim /c /etc/postern/keys/example.com/s.pem"
            ])
    }

    @Test("ten thousand domains: each line is compared with those that have to do with it")
    func manyDomains() {
        let count = 10_000
        let signing = (0..<count).map { "*@d\($0).example k\($0)\n*@*.d\($0).example k\($0)\n" }.joined()
        var tables = ImportedTables()
        let entries = ParameterLine.lines(of: Array(signing.utf8), file: "s").map {
            DataSetEntry(key: $0.name, value: $0.value, line: $0.line)
        }
        #expect(SigningLine.lines(of: entries, .patterns, isMultiple: false, &tables).count == 2 * count)
        #expect(tables.leftOut == [] && tables.warnings == [])
    }

    @Test("what Debian's opendkim package brings is carried over but for its socket")
    func debianOpenDKIM() throws {
        let text = try #require(
            try? String(contentsOfFile: "/etc/opendkim.conf", encoding: .utf8), "opendkim is installed for tests")
        let settings = Self.opendkim(text)
        #expect(settings.toml.contains("canonicalization = \"relaxed/simple\""))
        #expect(settings.leftOut.map(\.line.text).allSatisfy { $0.hasPrefix("Socket") })
    }

    // MARK: OpenDMARC

    private static func opendmarc(_ text: String) -> ImportedSettings {
        OpenDMARCSettings.settings(of: Array(text.utf8), file: "opendmarc.conf") { name throws(ImportRefusal) in
            guard let file = files[name] else { throw ImportRefusal(reason: "\(name): there is no such file") }
            return Array(file.utf8)
        }
    }

    @Test(
        "opendmarc.conf",
        arguments: [
            Row(
                text: "PidFile /run/x\nUserID opendmarc\n",
                toml: [
                    "[dmarc]\non_reject = \"accept\"  # RejectFailures false\n",
                    "on_quarantine = \"accept\"  # HoldQuarantinedMessages false\non_invalid_author = \"accept\"",
                ]),
            Row(
                text: "RejectFailures true\nHoldQuarantinedMessages yes\nRejectMultiValueFrom 1\n",
                toml: [
                    "on_reject = \"reject\"", "on_temperror = \"defer\"", "on_quarantine = \"hold\"",
                    "on_invalid_author = \"reject\"",
                ]),
            Row(text: "RequiredHeaders true\n", toml: ["on_invalid_author = \"reject\""], warned: ["only From"]),
            Row(text: "PublicSuffixList /x.dat\n", toml: ["discovery = \"treewalk\""], warned: ["RFC 9989"]),
            Row(
                text: "AuthservID mx.example\nIgnoreHosts /etc/dkim/trusted\n",
                toml: [
                    "authserv_id = \"mx.example\"", "relays = [\"192.0.2.0/24\", \"2001:db8::/32\"]  # IgnoreHosts",
                ],
                leftOut: ["a client's name", "exclusion"], warned: ["host.networks"]),
            Row(text: "IgnoreHosts /nowhere\n", leftOut: ["no such file"]),
            Row(
                text: "HistoryFile /x\nSocket inet:1@h\nFailureReports true\nIgnoreMailFrom a.example\nNovelty x\n",
                leftOut: ["facts.sqlite", "listen.dmarc", "no reports", "everybody", "nothing like it"]),
        ])
    func opendmarc(row: Row) { Self.check(Self.opendmarc(row.text), row) }

    // MARK: policyd-spf

    @Test(
        "policyd-spf.conf",
        arguments: [
            // Debian's own file.
            Row(
                text:
                    "debugLevel = 1 \nTestOnly = 1\n\nHELO_reject = Fail\nMail_From_reject = Fail\n\nPermError_reject = False\n"
                    + "TempError_Defer = False\n\nskip_addresses = 127.0.0.0/8,::ffff:127.0.0.0/104,::1\n",
                toml: ["[spf]\non_fail = \"reject\""], leftOut: ["HELO name"], warned: ["forwarded mail"]),
            Row(text: "", toml: ["on_fail = \"reject\""], warned: ["forwarded mail"]),
            // Debian's sample with all options.
            Row(
                text:
                    "Mail_From_reject = False\nAuthserv_Id = HEADER\nMock = False\nSocket = local:/x\nInternalHosts = 10.0.0.1\n",
                leftOut: ["Header_Type = AR", "listen.dmarc", "host] networks"]),
            Row(text: "Mail_From_reject = False\nHELO_reject = False\n"),
            Row(
                text: "Mail_From_reject = Softfail\nPermError_reject = True\nTempError_Defer = True\nTestOnly = 0\n",
                toml: [
                    "on_fail = \"reject\"", "on_softfail = \"reject\"", "on_permerror = \"reject\"",
                    "on_temperror = \"defer\"", "shadow = true",
                ], warned: ["forwarded mail"]),
            Row(
                text: "Mail_From_reject = SPF_Not_Pass\n", toml: ["on_softfail"], leftOut: ["neutral"],
                warned: ["forwarded"]),
            Row(
                text: "Mail_From_reject = No_Check\nWhitelist = 192.0.2.0/31,198.51.100.7\nAuthserv_Id = mx.example\n"
                    + "Header_Type = AR\n",
                toml: ["relays = [\"192.0.2.0/31\", \"198.51.100.7/32\"]", "authserv_id = \"mx.example\""],
                warned: ["[[dmarc.exception]]"]),
            Row(
                text:
                    "Mail_From_reject = False\nDomain_Whitelist = a.example\nNo_Mail = True\nReject_Not_Pass_Domains = a.example\nX = 1\n",
                leftOut: ["[[dmarc.exception]]", "sender_domain", "spf = ", "nothing like it"]),
        ])
    func policydSPF(row: Row) {
        Self.check(PolicydSPFSettings.settings(of: Array(row.text.utf8), file: "policyd-spf.conf"), row)
    }

    // MARK: postgrey

    @Test(
        "postgrey's options",
        arguments: [
            Row(
                text: "POSTGREY_OPTS=\"--inet=10023\"\n",
                toml: [
                    "[greylist]\nclients = \"all\"\ndelay = \"300s\"\nremember = \"35d\"\nretry_within = \"2d\"\n"
                        + "ipv4_prefix = 24\nipv6_prefix = 64\n"
                ]),
            Row(
                text: "# x\nPOSTGREY_OPTS='--delay=60 --max-age=14 --retry-window=12h --lookup-by-host'\n",
                toml: [
                    "delay = \"60s\"", "remember = \"14d\"", "retry_within = \"12h\"", "ipv4_prefix = 32",
                    "ipv6_prefix = 128",
                ]),
            // As a shell has it.
            Row(
                text: "POSTGREY_OPTS=--delay=60\nPOSTGREY_OPTS=\"--max-age=20\"\nPOSTGREY_TEXT=\"Wait\"\n"
                    + "POSTGREY_OPTS=\"$POSTGREY_OPTS --retry-window=3\"\n",
                toml: ["delay = \"300s\"\nremember = \"20d\"\nretry_within = \"3d\""], leftOut: ["replies are our own"]),
            Row(
                text: "POSTGREY_OPTS=\"--auto-whitelist-clients=5 --privacy --delay=soon --surprise x\"\n",
                toml: ["remember = \"35d\""],
                leftOut: ["--NAME", "greylist.delay", "no number to set", "kept as they are", "nothing like it"]),
        ])
    func postgrey(row: Row) {
        let options = PostgreySettings(Array(row.text.utf8), file: "/etc/default/postgrey")
        Self.check(PostgreyWhitelist.settings(of: [], options), row)
    }

    @Test("a value may be a word of its own, and a whitelist that cannot be read is told")
    func postgreyWords() {
        let text = "POSTGREY_OPTS=\"--inet 10023 -d --delay 60 --retry-window 12H --whitelist-clients /gone --user\"\n"
        let settings = ImportPostgrey.settings(
            of: Array(text.utf8), name: "d", exists: { _ in true },
            reading: { name throws(ImportRefusal) in throw ImportRefusal(reason: "cannot read \(name)") })
        Self.check(
            settings,
            Row(text: text, toml: ["delay = \"60s\"", "retry_within = \"12h\""], leftOut: ["cannot read /gone"]))
        let usual = ImportPostgrey.settings(
            of: [], name: "d", exists: { $0.hasSuffix("clients.local") },
            reading: { name throws(ImportRefusal) in throw ImportRefusal(reason: "cannot read \(name)") })
        #expect(usual.leftOut.map(\.text) == ["cannot read /etc/postgrey/whitelist_clients.local"])
    }

    @Test("postgrey's lists come below its options")
    func postgreyLists() {
        let options = PostgreySettings(Array("POSTGREY_OPTS=--whitelist-clients=/w\n".utf8), file: "d")
        #expect(options.whitelists.map(\.name) == ["/w"])
        let list = PostgreyWhitelist.File(name: "/w", kind: .clients, octets: Array("a.example\n(?=\n/(?=x)/\n".utf8))
        let settings = PostgreyWhitelist.settings(of: [list], options)
        Self.check(
            settings,
            Row(
                text: "", toml: ["ipv6_prefix = 64\nskip_clients = [\n    \"a.example\", \"*.a.example\",\n]"],
                leftOut: ["expected an address", "look-around"]))
        #expect(settings.leftOut.map(\.line.number) == [2, 3])
    }

    // MARK: anvil

    @Test(
        "Postfix's limits",
        arguments: [
            Row(
                text: "mynetworks = 127.0.0.0/8 [::1]/128 192.0.2.0/24\nsmtpd_client_message_rate_limit = 30\n",
                toml: [
                    "[[limit]]\nname = \"client messages\"\nper = [\"client\"]\ncount = \"messages\"\nallow = [\"30/60s\"]\n",
                    "window = \"fixed\"\nexcept = [\"127.0.0.0/8\", \"::1/128\", \"192.0.2.0/24\"]",
                ]),
            Row(
                text:
                    "anvil_rate_time_unit = 10m\nsmtpd_client_recipient_rate_limit=200\nsmtpd_client_connection_rate_limit = 0\n"
                    + "smtpd_client_event_limit_exceptions =\nsmtpd_client_ipv6_prefix_length = 64\n",
                toml: ["count = \"recipients\"\nallow = [\"200/10m\"]", "ipv6_prefix = 64\n"]),
            Row(
                text: "smtpd_client_connection_count_limit = 10\nsmtpd_client_auth_rate_limit = 5\n",
                leftOut: ["only Postfix knows", "fail"]),
            Row(text: "smtpd_client_connection_rate_limit = $x\n", leftOut: ["limit.allow"]),
            Row(
                text: "smtpd_client_message_rate_limit = 3\nmynetworks = ${x:y} cidr:/etc/x /etc/y fe80::/10\n",
                toml: ["except = [\"fe80::/10\"]"], leftOut: ["postconf -x", "a table", "a table"]),
            Row(
                text: "anvil_rate_time_unit = soon\nsmtpd_client_message_rate_limit = 1\n", leftOut: ["a time such as"]),
        ])
    func anvil(row: Row) throws {
        let settings = try #require(AnvilLimits.settings(of: Array(row.text.utf8), file: "main.cf"))
        Self.check(settings, Row(text: row.text, toml: row.toml, leftOut: row.leftOut))
        #expect(AnvilLimits.settings(of: Array("myhostname = x\n".utf8), file: "main.cf") == nil)
    }

    // MARK: postfwd

    @Test(
        "postfwd's rules",
        arguments: [
            Row(
                text:
                    "id=R1; client_address==192.0.2.0/24, 198.51.100.7; sender==no@bad.example; action=REJECT go away\n",
                toml: [
                    "[[rule]]\nname = \"R1\"\nclient = [\"192.0.2.0/24\", \"198.51.100.7/32\"]\n"
                        + "sender = [\"no@bad.example\"]\naction = \"reject go away\"\n"
                ]),
            Row(
                text:
                    "id=R1\n  client_name=^unknown$ # none\n  helo_name~=[a-z]/x\n  action=450 4.7.1 wait $$client_name\n",
                toml: [
                    #"client_name = ["/^unknown$/"]"#, #"helo = ["/[a-z]\\/x/"]"#,
                    "action = \"defer 450 4.7.1 wait [client_name]\"",
                ], warned: ["replies hold no attributes"]),
            Row(
                text: "id=R1; \\\n  sasl_username=!!(bob); \\\n  size=1000; encryption_keysize=<127; action=dunno\n",
                toml: [
                    #"not_sasl_username = ["/bob/"]"#, "size = [\"1000..\"]", "encryption_keysize = [\"..127\"]",
                    "action = \"accept\"",
                ]),
            Row(
                text:
                    "&&A {\n  client_name==unknown\n}\n&&B { &&A; sender==a@b.example; };\nid=R1; &&B; action=HOLD look\n",
                toml: ["client_name = [\"unknown\"]\nsender = [\"a@b.example\"]\naction = \"hold look\""]),
            Row(
                text: "id=T; days=Sat-Sun; time=22:00:00-06:00:00; action=reject\n",
                toml: [
                    "weekday = [\"sat..sun\"]", "time = [\"22:00..06:00\"]", "action = \"reject 5.7.1 Access denied\"",
                ]),
            Row(text: "id=N; time=!!06:00:00-20:00:00; action=DEFER\n", toml: ["not_time = [\"06:00..20:00\"]"]),
            Row(
                text: "id=A; sender==a@b.example; action=OK\nid=A; sender==c@d.example; action=score(+3)\n",
                toml: ["name = \"A\"", "name = \"A 2\"", "action = \"score 3\""], warned: ["still does"]),
            Row(
                text: "id=L; protocol_state==END-OF-MESSAGE; sasl_username=~.; client_address!=10.1.1.1; "
                    + "action=size(sasl_username/1572864/3600/450 4.7.1 sorry)\n",
                toml: [
                    "per = [\"sasl_username\"]\ncount = \"octets\"\nallow = [\"1572864/3600s\"]\n"
                        + "action = \"defer 450 4.7.1 sorry\"", "users = [\"/./\"]", "except = [\"10.1.1.1/32\"]",
                ]),
            Row(
                text:
                    "action=rate($$client_address/3/300/REJECT much)\nprotocol_state==DATA; action=rate(sender/5/60/421 later)\n",
                toml: [
                    "count = \"recipients\"\nallow = [\"3/300s\"]",
                    "per = [\"sender\"]\ncount = \"messages\"\nallow = [\"5/60s\"]",
                ]),
            Row(
                text: "id=B; rbl=zen.spamhaus.org, bl.example; action=REJECT listed\n",
                toml: [
                    "[[dnsbl.list]]\nzone = \"zen.spamhaus.org\"\nscores = { \"127.0.0.[0..255]\" = 4 }",
                    "zone = \"bl.example\"",
                ]),
            Row(
                text:
                    "id=1; action=jump(R2)\nid=2; HIT>=2; action=reject\nid=3; client_name==!!($$(helo_name)); action=dunno\n"
                    + "id=4; sender==x@y.example\nid=5; rbl=a.example; client_name==unknown; action=reject\n"
                    + "id=6; sender!=a@b.example; sender!=c@d.example; action=reject\nid=7; &&NONE; action=reject\n"
                    + "id=8; action=ask(127.0.0.1:10023)\nid=9; sender=~(?=a); action=reject\nid=10; action=WARN x\n"
                    + "id=11; recipient==a@b.example; action=rate(client_address/1/60/450 x)\nnothing\n",
                leftOut: [
                    "no rule jumps: the rules up to R2", "compares so: HIT", "compared with another",
                    "without an action",
                    "added up in [dnsbl]", "several negations", "a macro that is defined", "action = \"greylist\"",
                    "rule.sender", "no action like it: WARN", "no condition recipient", "expected items",
                ]),
        ])
    func postfwd(row: Row) {
        let settings = PostfwdRules.settings(of: Array(row.text.utf8), file: "postfwd.cf")
        Self.check(settings, row)
    }

    @Test("macros that stand for any amount of text end, and rules beyond their bound are told")
    func postfwdBounds() {
        let bomb = (0..<12).map { number in
            "&&A\(number) { "
                + String(repeating: number == 0 ? "sender==x; " : "&&A\(number - 1); ", count: 10) + "}\n"
        }.joined()
        let settings = PostfwdRules.settings(of: Array((bomb + "id=x; &&A11; action=DUNNO\n").utf8), file: "f")
        #expect(settings.toml == "")
        #expect(settings.leftOut.first?.text.contains("65536 octets in a rule") == true, "\(settings.leftOut)")
        let text = String(repeating: "id=x; action=score(a)\n", count: PostfwdRuleset.maxRules + 1)
        #expect(PostfwdRules.settings(of: Array(text.utf8), file: "f").leftOut.count == PostfwdRuleset.maxRules + 1)
    }

    @Test("of a rule that is left out nothing else is told")
    func postfwdWarnings() {
        let text = "id=x; HIT_a=>2; action=REJECT $$helo_name\nid=y; sender==a@b.example; action=OK\n"
        Self.check(
            PostfwdRules.settings(of: Array(text.utf8), file: "f"),
            Row(text: text, toml: ["name = \"y\""], leftOut: ["compares so"], warned: ["still does"]))
    }

    @Test("mutated settings of peers never trap, and what is printed is always read")
    func mutated() {
        let texts = [
            "KeyTable /etc/dkim/keys\nSigningTable refile:/etc/dkim/signing\nInternalHosts /etc/dkim/trusted\nSignatureTTL 5\n",
            "Mode s\nDomain example.com\nSelector s\nKeyFile /k\nAuthservID x\n",
            "RejectFailures true\nIgnoreHosts /etc/dkim/trusted\n",
            "Mail_From_reject = Softfail\nWhitelist = 192.0.2.0/31\n",
            "POSTGREY_OPTS=\"--delay=60 --max-age=14 --retry-window=12h\"\n",
            "smtpd_client_message_rate_limit = 30\nanvil_rate_time_unit=1h\n",
            "&&A { client_name==unknown }\nid=R1; &&A; sender!=a; size>=5; action=rate(sender/5/60/450 x)\nid=2; rbl=a.b; action=reject\n",
        ]
        let tokens = [
            "!!", "$$", "&&", ";", "/", "==", "\"", "\\", "(", "%", "@", "*", "{", "\u{0}", "\u{1}", "\r", "é",
        ].map {
            Array($0.utf8)
        }
        Mutations.of(texts.map { Array($0.utf8) }, tokens: tokens, count: 300, seed: 11) { octets in
            let text = String(decoding: octets, as: UTF8.self)
            let made = [
                Self.opendkim(text), Self.opendmarc(text), PolicydSPFSettings.settings(of: octets, file: "f"),
                PostgreyWhitelist.settings(of: [], PostgreySettings(octets, file: "f")),
                AnvilLimits.settings(of: octets, file: "f") ?? ImportedSettings(),
                PostfwdRules.settings(of: octets, file: "f"),
            ]
            for settings in made {
                let problems = Configuration.read(Array(settings.toml.utf8), file: "p", folder: "/", for: .check)
                    .problems
                #expect(problems.filter { !$0.keyPath.hasSuffix(".file") } == [], "\(settings.toml)")
            }
        }
    }
}
