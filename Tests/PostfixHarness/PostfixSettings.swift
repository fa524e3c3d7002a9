// What a test may choose about its Postfix; all else is a stock Postfix's default, or serves privacy.

import Foundation

/// One more smtpd, on a port of its own.
public struct SMTPService: Sendable {
    /// How tests ask for its port: `postfix.port("submission")`.
    public var name: String
    /// What stands after each `-o` in master.cf: `name=value`, or `{ name = value }` with spaces (master(5)).
    public var options: [String]

    public init(_ name: String, options: [String] = []) {
        self.name = name
        self.options = options
    }

    /// As a submission service is told apart by milters. Source: postconf(5), milter_macro_daemon_name.
    public static func originating(_ name: String = "submission", options: [String] = []) -> SMTPService {
        SMTPService(name, options: ["milter_macro_daemon_name=ORIGINATING"] + options)
    }
}

public struct PostfixSettings: Sendable {
    /// `myhostname`: the name in greetings and Received fields, and milters' `j`.
    public var hostName = "mx1.example.org"
    /// Where the services listen, of 127.0.0.0/8. Not `inet_interfaces`, which takes what an interface has by name.
    public var address = "127.0.0.1"
    /// `smtpd_milters`, Postfix's spelling; a path is relative to the queue folder.
    public var smtpdMilters = ""
    /// `non_smtpd_milters`.
    public var nonSMTPDMilters = ""
    /// `mynetworks`.
    public var networks = "127.0.0.0/8"
    /// Runs smtpd and cleanup in the queue folder, as Debian's master.cf does.
    public var isChrooted = false
    /// Names messages as a stock Postfix does: short, and used again within thousands of messages, so that two that a
    /// test sent may have one queue id. Source: postconf(5), enable_long_queue_ids.
    public var hasShortQueueIDs = false
    /// More of main.cf, in place of what the harness would set. Source: postconf(5).
    public var mainLines: [String] = []
    /// More files in the configuration folder, by name.
    public var files: [String: String] = [:]
    /// Logins and their passwords, for services with `smtpd_sasl_auth_enable=yes`. Needs sasl2-bin, libsasl2-modules.
    public var accounts: [String: String] = [:]
    /// The smtpd services; the first one is the MX that strangers reach.
    public var services = [SMTPService("smtp")]

    public init() {}

    public init(smtpdMilters: String, nonSMTPDMilters: String = "", services: [SMTPService] = [SMTPService("smtp")]) {
        self.smtpdMilters = smtpdMilters
        self.nonSMTPDMilters = nonSMTPDMilters
        self.services = services
    }

    /// As contrib/postfix/ attaches the milters: its main.cf and its submission service, word for word.
    /// - Parameter milter: one that this host has no use for: its line in main.cf is left out.
    public static func shipped(without milter: String? = nil) throws -> PostfixSettings {
        let folder = SourceTree.root.appending(path: "contrib/postfix")
        func lines(_ name: String) throws -> [String] {
            try String(contentsOf: folder.appending(path: name), encoding: .utf8).components(separatedBy: "\n")
        }
        var settings = PostfixSettings()
        settings.isChrooted = true
        settings.mainLines = try lines("main.cf").filter { line in
            milter.map { !line.contains("unix:postern/\($0).sock") } ?? true
        }
        settings.files = ["postern_header_checks": try lines("postern_header_checks").joined(separator: "\n")]
        let options = try lines("master.cf").filter { $0.hasPrefix("  -o ") }.map { String($0.dropFirst(5)) }
        settings.services.append(SMTPService("submission", options: options))
        return settings
    }

    func main(folder: String) -> String {
        let fixed = """
            compatibility_level = 3.6
            queue_directory = \(folder)/q
            data_directory = \(folder)/data
            maillog_file = \(folder)/mail.log
            maillog_file_prefixes = /tmp
            inet_interfaces = 127.0.0.1
            inet_protocols = ipv4
            myhostname = \(hostName)
            myorigin = \(hostName)
            enable_long_queue_ids = \(hasShortQueueIDs ? "no" : "yes")
            mynetworks = \(networks)
            # Every domain's mail ends in one Maildir, so outbound mail can be read as well.
            mydestination =
            alias_maps =
            local_recipient_maps =
            virtual_mailbox_domains = static:all
            virtual_mailbox_base = \(folder)/mail
            virtual_mailbox_maps = static:box/
            virtual_mailbox_limit = 0
            virtual_uid_maps = static:65534
            virtual_gid_maps = static:65534
            virtual_minimum_uid = 1
            # Tests speak as strangers by XCLIENT, many at once and all from loopback.
            smtpd_authorized_xclient_hosts = 127.0.0.0/8
            smtpd_client_connection_count_limit = 0
            smtpd_milters = \(smtpdMilters)
            non_smtpd_milters = \(nonSMTPDMilters)

            """
        let sasl = accounts.isEmpty ? "" : "cyrus_sasl_config_path = \(folder)/etc/sasl\n"
        // A parameter that the test sets is left out above: Postfix warns of one that stands there twice.
        func name(_ line: String) -> String { line.prefix { $0 != "=" }.trimmingCharacters(in: .whitespaces) }
        let chosen = Set(mainLines.filter { $0.contains("=") && !$0.hasPrefix("#") }.map(name))
        let kept = fixed.components(separatedBy: "\n").filter { !chosen.contains(name($0)) }
        return (kept + mainLines).joined(separator: "\n") + "\n" + sasl
    }

    /// Cyrus SASL's settings for smtpd(8), which reads the passwords chrooted. Source: SASL_README.
    func sasl(database: String, folder: String) -> String {
        """
        pwcheck_method: auxprop
        auxprop_plugin: sasldb
        mech_list: PLAIN
        sasldb_path: \(isChrooted ? "" : folder + "/q")\(database)

        """
    }

    /// - Parameter ports: one for each of `services`.
    func master(ports: [UInt16]) -> String {
        let chroot = isChrooted ? "y" : "n"
        var lines: [String] = []
        for (service, port) in zip(services, ports) {
            lines.append("\(address):\(port) inet n - \(chroot) - - smtpd")
            lines += service.options.map { "  -o \($0)" }
        }
        lines += [
            "cleanup unix n - \(chroot) - 0 cleanup", "pickup unix n - n 60 1 pickup", "qmgr unix n - n 300 1 qmgr",
            "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce",
            "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush",
            "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp", "relay unix - - n - - smtp",
            "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
            "discard unix - - n - - discard", "virtual unix - n n - - virtual", "anvil unix - - n - 1 anvil",
            "scache unix - - n - 1 scache", "tlsmgr unix - - n 1000? 1 tlsmgr", "postlog unix-dgram n - n - 1 postlogd",
        ]
        return lines.joined(separator: "\n") + "\n"
    }
}
