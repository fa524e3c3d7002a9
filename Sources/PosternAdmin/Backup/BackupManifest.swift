// What an archive holds, as its first member `manifest.json` says: of which host, made when and by which Postern, and
// each file with where it lay, whose it was and the SHA-256 of its octets. An archive may come from a stranger by the
// time root reads it: what is not exactly as we write it is refused here, before anything is made of it.
//
// Not in it: numbers of users and groups, which another machine may give to others; their names are.

internal import PosternMail

struct BackupManifest: Hashable, Sendable {
    /// The member's name in the archive.
    static let path = "manifest.json"
    /// Of the archive's form. A reader takes this one only.
    static let format = 1
    /// Longest manifest that is read: what `maxEntries` with usual paths take.
    static let maxOctets = 16 << 20
    /// Most files: 1000 domains with all the keys that a directory may hold, and their tables.
    static let maxEntries = 20_000
    /// Most JSON values: each file has twelve, and a later Postern may add some. Of 16 MiB of nothing but brackets half
    /// a gibibyte would be made.
    static let maxValues = 16 * maxEntries

    /// The Postern that made it.
    var version: String
    /// `host.name`.
    var host: String
    var created: UnixTime
    /// Where the configuration lay, absolute; an entry of kind `config` has it.
    var configuration: String
    /// `state.directory`.
    var stateDirectory: String
    /// In the order in which they stand in the archive.
    var entries: [Entry]
    /// What should be among them and could not be had: names of states' files, paths of Postfix's.
    var missing: [String] = []

    /// Of the files' contents together, in octets.
    var octets: Int { entries.reduce(0) { $0 + $1.size } }

    /// What a file is.
    enum Kind: String, Hashable, Sendable, CaseIterable {
        /// postern.toml, and the lists, zones and password files that it names.
        case config
        /// DKIM private keys.
        case keys
        /// What a daemon remembers.
        case state
        /// Postfix's own files.
        case postfix

        /// Longest file of this kind that is written or read.
        var maxOctets: Int {
            switch self {
            case .config: 64 << 20
            case .keys: 1 << 20
            case .postfix: 256 << 20
            case .state: 1 << 40
            }
        }
    }

    /// A daemon's state, by what it says.
    enum State: String, Hashable, Sendable, CaseIterable {
        case greylist
        case facts
        case limits
        case dns
        case dkimKeys = "dkim-keys"

        /// In `state.directory`.
        var fileName: String {
            switch self {
            case .greylist: "greylist.sqlite"
            case .facts: "facts.sqlite"
            case .limits: "limits.journal"
            case .dns: "dns.snapshot"
            case .dkimKeys: "dkim-keys"
            }
        }

        var daemon: DaemonName {
            switch self {
            case .greylist: .policy
            case .facts: .dmarc
            case .limits: .rate
            case .dns: .dns
            case .dkimKeys: .dkim
            }
        }

        var isSQLite: Bool { self == .greylist || self == .facts }
    }

    struct Entry: Hashable, Sendable {
        var kind: Kind
        /// Where it lay, absolute; no symbolic link of it was followed at its end.
        var original: String
        /// Names; the number as text where there is no name.
        var owner: String
        var group: String
        /// Permissions, at most 0777.
        var mode: UInt32
        var size: Int
        var sha256: [UInt8]
        /// Of kind `state` only.
        var state: State?
        /// The version that the state's own header gives.
        var schema: Int?
        /// When its octets were last written; a directory's keys take turns by it.
        var modified: UnixTime?

        /// In the archive: `config/etc/postern/postern.toml`.
        var path: String { kind.rawValue + original }
    }
}

// MARK: Rules

/// Why a manifest is not ours.
struct BackupManifestError: Error, Hashable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension BackupManifest {
    /// Longest path, and longest part of one. Source: PATH_MAX less what a root before it takes; NAME_MAX.
    private static let (maxPath, maxName) = (3072, 255)
    /// Most folders of a path.
    private static let maxDepth = 64

    /// Whether a path can stand below any root and nowhere else: absolute, no part empty, `.` or `..`, no controls.
    static func isPlain(_ path: String) -> Bool {
        guard path.utf8.first == 0x2F, path.utf8.count <= maxPath else { return false }
        guard path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return false }
        let parts = path.utf8.dropFirst().split(separator: 0x2F, omittingEmptySubsequences: false)
        return parts.count <= maxDepth
            && parts.allSatisfy { part in
                !part.isEmpty && part.count <= maxName && !part.elementsEqual(".".utf8)
                    && !part.elementsEqual("..".utf8)
            }
    }

    /// More than there are states and files of Postfix's.
    private static let maxMissing = 100

    /// The rules that hold for every manifest, written or read.
    func check() throws(BackupManifestError) {
        guard missing.count <= Self.maxMissing, missing.allSatisfy({ (1...Self.maxPath).contains($0.utf8.count) })
        else {
            throw BackupManifestError("expected at most \(Self.maxMissing) names of what is missing, found others")
        }
        guard entries.count <= Self.maxEntries else {
            throw BackupManifestError("expected at most \(Self.maxEntries) files, found \(entries.count)")
        }
        guard Self.isPlain(configuration), Self.isPlain(stateDirectory) else {
            throw BackupManifestError("expected absolute paths without . and .., found others")
        }
        var files: Set<String> = []
        var folders: Set<String> = []
        var total = 0
        for entry in entries {
            try entry.check()
            guard files.insert(entry.original).inserted else {
                throw BackupManifestError("expected each file once, found \(entry.shown) twice")
            }
            var folder = Files.folder(of: entry.original)
            while folder != "/", folders.insert(folder).inserted { folder = Files.folder(of: folder) }
            total += entry.size  // at most 20,000 times 2^40
        }
        if let entry = entries.first(where: { folders.contains($0.original) }) {
            throw BackupManifestError("expected files, found a folder \(entry.shown) that is a file too")
        }
        guard entries.contains(where: { $0.kind == .config && $0.original == configuration }) else {
            throw BackupManifestError("expected the configuration among the files, found none")
        }
    }
}

extension BackupManifest.Entry {
    /// For a terminal.
    var shown: String { LogText.escaped(original.utf8) }

    func check() throws(BackupManifestError) {
        guard BackupManifest.isPlain(original) else {
            throw BackupManifestError("expected an absolute path without . and .., found \(shown)")
        }
        guard mode <= 0o777 else {
            throw BackupManifestError("\(shown): expected a mode of at most 0777, found \(String(mode, radix: 8))")
        }
        guard (0...kind.maxOctets).contains(size) else {
            throw BackupManifestError("\(shown): expected at most \(kind.maxOctets) octets, found \(size)")
        }
        guard Self.isName(owner), Self.isName(group) else {
            throw BackupManifestError("\(shown): expected names of a user and a group, found others")
        }
        guard sha256.count == 32 else {
            throw BackupManifestError("\(shown): expected a SHA-256 of 32 octets, found \(sha256.count)")
        }
        guard (state != nil) == (kind == .state) else {
            throw BackupManifestError("\(shown): expected a state's name for state, and for nothing else")
        }
    }

    /// What useradd(8) allows, and numbers.
    static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy { octet in
                switch octet {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x24: true
                default: false
                }
            } && name.utf8.first != 0x2D
    }
}
