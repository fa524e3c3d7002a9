// Key files: what they may hold, and who may have access to them. Rights are judged by owner and mode for a given user,
// so that the rows hold whether root runs the tests or another user.

import Foundation
import PosternAuth
import PosternMail
import Testing

@testable import PosternDaemon

@Suite("key files")
struct KeyFileTests {
    /// The user that runs the tests and so owns what they write.
    private static let owner = UserIdentity.current
    /// Somebody else, with a group of their own.
    private static let other = UserIdentity(name: "postern-dkim", uid: 61_234, gid: 61_234)

    private static func keys(_ folder: TemporaryFolder, as user: UserIdentity = owner, _ table: String = "")
        -> LoadResult
    {
        let text = """
            [[dkim.key]]
            domain = "example.com"
            selector = "2026q4"
            file = "key.pem"
            \(table)
            """
        return read(Array(text.utf8), folder: folder.path, for: .dkim, as: user)
    }

    // MARK: Content

    @Test("an RSA and an Ed25519 key, with what they sign for")
    func goodKeys() throws {
        let folder = try TemporaryFolder()
        for kind in [PrivateKey.Kind.rsa(bits: 2048), .ed25519] {
            try folder.write("key.pem", PrivateKey.generate(kind).pem, mode: 0o400)
            let result = Self.keys(folder, "from = [\"*@example.org\"]\nusers = [\"ann\"]")
            let key = try #require(result.flawless?.dkim.keys.first)
            #expect(key.domain == Example.domain)
            #expect(key.selector == Example.name("2026q4"))
            #expect(key.signs(for: Array("bo".utf8), at: Example.name("example", "org")))
            #expect(!key.signs(for: Array("bo".utf8), at: Example.domain))
            #expect(key.admits(Array("ann".utf8)))
            try FileManager.default.removeItem(atPath: "\(folder.path)/key.pem")
        }
    }

    @Test(
        "what is no private key",
        arguments: [
            ("empty", "", "an empty file"),
            ("other text", "hello\n", "\(KeyError.notPEM)"),
            ("a public key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "\(KeyError.publicKey)"),
            (
                "an encrypted key",
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "\(KeyError.encrypted)"
            ),
            (
                "a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "\(KeyError.unsupported("a block of type \"CERTIFICATE\""))"
            ),
        ])
    func badKeys(name: String, content: String, found: String) throws {
        let folder = try TemporaryFolder()
        try folder.write("key.pem", content)
        #expect(
            Self.keys(folder).problems.map(\.description) == [
                "postern.toml:4:8: dkim.key[1].file: expected an RSA or Ed25519 private key in PEM, found \(found): "
                    + "\(printable("\(folder.path)/key.pem"))"
            ])
    }

    @Test("a damaged key and one too small")
    func damagedAndSmall() throws {
        let folder = try TemporaryFolder()
        var pem = try PrivateKey.generate(.ed25519).pem
        pem.removeSubrange(40..<50)
        try folder.write("key.pem", pem)
        #expect(Self.keys(folder).problems.map(\.text).first?.contains("found no readable private key") == true)
        try folder.write("key.pem", Self.smallKey)
        #expect(
            Self.keys(folder).problems.map(\.text).first?.contains("found \(KeyError.tooSmall(bits: 512))") == true)
        try folder.write("key.pem", [UInt8](repeating: 0x41, count: PrivateKey.maxPEMOctets + 1))
        #expect(Self.keys(folder).problems.map(\.text).first?.contains("found one of more than 64KiB") == true)
    }

    /// An RSA key of 512 bits, made by OpenSSL for this test.
    private static let smallKey = """
        -----BEGIN RSA PRIVATE KEY-----
        MIIBOwIBAAJBALlI/WWG1oRAZygCc67McMty1KCuUqeusbIcSqHoAEcwT2P3UFmE
        k8/2VuZP6/rSfXYYrBw3lygQCiyPDR09ZDkCAwEAAQJAQle6M6ImKVCOHytRlKMr
        OA2zyJzih5vrkGTE7FgP0W0EpAnESLsigRyOaVPtXpolH5rUbLlSiibQMSpq1VMN
        aQIhAOb49Le0ta6KAFjjC315jdM/iNPQ/jXUDYw/1zOAL1B7AiEAzVyxS7+3lGNn
        m6IPlDO6wFF8n0lDYZiBif2e/5pUMdsCIQCZ++fKgaOOVVqd5+BFKsCu0XC7Jl4U
        LOdLVVR3dUIV+QIgXxCjuk8bqoOBuNgCojZ4IwMVz57YpFs2zCwt6GEGzLUCIQDS
        WiwauJEqE2PH4jfqt8GAiw6FdVH1FGKKihbsifdRMg==
        -----END RSA PRIVATE KEY-----
        """

    // MARK: Folders of keys

    private static func folderOfKeys(_ folder: TemporaryFolder, more: String = "") -> LoadResult {
        let text = "[[dkim.key]]\ndomain = \"example.com\"\ndirectory = \".\"\n\(more)"
        return read(Array(text.utf8), folder: folder.path, for: .dkim, as: owner)
    }

    @Test("a folder's keys, oldest first by their times, then their names; what does not end in .pem is none")
    func directory() throws {
        let folder = try TemporaryFolder()
        for (name, age) in [("b", 30), ("a", 30), ("new", 10), ("old", 50)] {
            try folder.write("\(name).pem", PrivateKey.generate(.ed25519).pem, mode: 0o400)
            try FileManager.default.setAttributes(
                [.modificationDate: Date(timeIntervalSince1970: Double(1_795_000_000 - age))],
                ofItemAtPath: "\(folder.path)/\(name).pem")
        }
        for name in ["README", ".c.pem.1", ".d.pem", "x.pem.old"] { try folder.write(name, "no key") }
        let result = Self.folderOfKeys(folder, more: "from = [\"*@example.org\"]\nusers = [\"ann\"]")
        let configuration = try #require(result.flawless)
        let keys = configuration.dkim.keys
        #expect(keys.map { "\($0.selector)" } == ["old", "a", "b", "new"])
        #expect(Set(keys.map(\.series)) == ["\(folder.path)/."])
        #expect(keys.allSatisfy { $0.admits(Array("ann".utf8)) && $0.from == ["*@example.org"] })
        let entries = configuration.dkim.entries
        #expect(entries.map(\.file) == ["old", "a", "b", "new"].map { "\(folder.path)/./\($0).pem" })
        #expect(entries.first?.made == UnixTime(seconds: 1_794_999_950))
        #expect(entries.first?.keyPath == "dkim.key[1].directory")
        #expect(configuration.dkim.directories.map(\.path) == ["\(folder.path)/."])
        #expect(configuration.differences.contains("directory = \"\(folder.path)/.\"\n"))
    }

    @Test("an empty folder is advice; a file that is no key, a name that is none, and too many are problems")
    func badDirectories() throws {
        let folder = try TemporaryFolder()
        let empty = Self.folderOfKeys(folder)
        #expect(empty.flawless?.dkim.keys.isEmpty == true && empty.flawless?.dkim.directories.count == 1)
        #expect(empty.advice.contains { "\($0)".contains("postern dkim rotate example.com") && $0.line == 3 })
        try folder.write("a.pem", PrivateKey.generate(.ed25519).pem, mode: 0o444)
        let place = "postern.toml:3:13: dkim.key[1].directory: "
        var texts = Self.folderOfKeys(folder).problems.map(\.description)
        #expect(texts.count == 1 && texts.first?.hasPrefix(place + "expected a private key that only user") == true)
        try folder.write("b c.pem", "")
        texts = Self.folderOfKeys(folder).problems.map(\.description)
        #expect(texts == [place + "expected files that are named SELECTOR.pem, found \(folder.path)/./b c.pem"])
        for number in 0...DKIMKeyFolder.maxKeys { try folder.write("k\(number).pem", "") }
        texts = Self.folderOfKeys(folder).problems.map(\.description)
        #expect(texts == [place + "expected at most 16 keys, found more in \(folder.path)/.: remove old ones"])
    }

    @Test("one record for two keys, of a folder and by name; other daemons do not look into the folder")
    func directoryRecords() throws {
        let folder = try TemporaryFolder()
        try folder.write("a.pem", PrivateKey.generate(.ed25519).pem, mode: 0o400)
        let more = "[[dkim.key]]\ndomain = \"example.com\"\nselector = \"A\"\nfile = \"a.pem\"\n"
        #expect(
            Self.folderOfKeys(folder, more: more).problems.map(\.description) == [
                "postern.toml:6:12: dkim.key[2].selector: expected a key record of its own, found "
                    + "a._domainkey.example.com, which is dkim.key[1]'s"
            ])
        let text = "[[dkim.key]]\ndomain = \"example.com\"\ndirectory = \"/absent\"\n"
        #expect(read(Array(text.utf8), folder: folder.path, for: .policy).problems.isEmpty)
    }

    // MARK: Rights

    @Test(
        "modes",
        arguments: [
            (0o400, nil), (0o600, nil), (0o700, nil), (0o404, "open for everyone"), (0o644, "open for everyone"),
            (0o602, "open for everyone"), (0o601, "open for everyone"), (0o620, "open for group"),
            (0o660, "open for group"), (0o610, "open for group"),
        ] as [(Int, String?)])
    func modes(mode: Int, problem: String?) throws {
        let folder = try TemporaryFolder()
        try folder.write("key.pem", PrivateKey.generate(.ed25519).pem, mode: mode)
        let problems = Self.keys(folder).problems.map(\.text)
        guard let problem else { return #expect(problems == []) }
        let octal = "0" + String(mode, radix: 8)
        #expect(problems.count == 1)
        #expect(
            problems.first?.hasPrefix(
                "expected a private key that only user \(Self.owner.name) can read, found mode \(octal), \(problem)")
                == true)
        #expect(problems.first?.hasSuffix("chmod 0400 \(printable("\(folder.path)/key.pem"))") == true)
    }

    @Test("a file of root's may be readable for the daemon's own group, and for no other one")
    func ownGroup() throws {
        let folder = try TemporaryFolder()
        try folder.write("key.pem", PrivateKey.generate(.ed25519).pem, mode: 0o440)
        let path = "\(folder.path)/key.pem"
        let status = try FileManager.default.attributesOfItem(atPath: path)
        let gid = try #require(status[.groupOwnerAccountID] as? NSNumber).uint32Value
        let isRoots = try #require(status[.ownerAccountID] as? NSNumber).uint32Value == 0
        let member = UserIdentity(name: "member", uid: 61_234, gid: gid)
        let guest = UserIdentity(name: "guest", uid: 61_234, gid: 61_234, groups: [gid])
        #expect(Self.keys(folder, as: member).problems.isEmpty == isRoots)
        #expect(
            Self.keys(folder, as: guest).problems.map(\.text).first?.contains("found mode 0440, open for group") == true
        )
    }

    @Test("a file that the daemon's user cannot read, or that a third user owns")
    func otherUser() throws {
        let folder = try TemporaryFolder()
        try folder.write("key.pem", PrivateKey.generate(.ed25519).pem, mode: 0o400)
        let text = try #require(Self.keys(folder, as: Self.other).problems.map(\.text).first)
        if Self.owner.uid == 0 {
            #expect(text.hasPrefix("expected a file that user postern-dkim can read, found mode 0400 of uid 0: chown"))
        } else {
            #expect(text.hasPrefix("expected a file of user postern-dkim or root, found one of uid \(Self.owner.uid)"))
        }
    }

    @Test("folders on the way: closed for the daemon's user, or open for everyone's writing; sticky ones are taken")
    func folders() throws {
        let folder = try TemporaryFolder()
        try folder.write("key.pem", PrivateKey.generate(.ed25519).pem, mode: 0o400)
        func mode(_ mode: Int) throws -> [String] {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: folder.path)
            return Self.keys(folder).problems.map(\.text)
        }
        #expect(try mode(0o1777) == [])
        #expect(
            try mode(0o777) == [
                "expected folders that others cannot write to, found mode 0777 of \(printable(folder.path))"
            ])
        #expect(try mode(0o700) == [])
        let found = Self.keys(folder, as: Self.other).problems.map(\.text)
        #expect(
            found == [
                "expected folders that user postern-dkim can enter, found mode 0700 of uid \(Self.owner.uid) of "
                    + "\(printable(folder.path))"
            ])
    }

    @Test("a link is followed, and what it leads to is judged")
    func links() throws {
        let folder = try TemporaryFolder()
        let target = try TemporaryFolder()
        try target.write("real.pem", PrivateKey.generate(.ed25519).pem, mode: 0o644)
        try FileManager.default.createSymbolicLink(
            atPath: "\(folder.path)/key.pem", withDestinationPath: "\(target.path)/real.pem")
        #expect(Self.keys(folder).problems.map(\.text).first?.contains("found mode 0644") == true)
        try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: "\(target.path)/real.pem")
        #expect(Self.keys(folder).problems == [])
        try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: target.path)
        #expect(Self.keys(folder).problems.map(\.text).first?.contains("found mode 0777 of") == true)
    }

    @Test("folders and pipes are no key files, and hold nobody up")
    func noFile() throws {
        let folder = try TemporaryFolder()
        try FileManager.default.createDirectory(atPath: "\(folder.path)/key.pem", withIntermediateDirectories: false)
        #expect(Self.keys(folder).problems.map(\.text).first?.contains("found something else") == true)
        try FileManager.default.removeItem(atPath: "\(folder.path)/key.pem")
        #expect(mkfifo("\(folder.path)/key.pem", 0o600) == 0)
        #expect(Self.keys(folder).problems.map(\.text).first?.contains("found something else") == true)
    }

    // MARK: Users

    @Test("users by name, with their groups")
    func users() throws {
        let root = try #require(UserIdentity(named: "root"))
        #expect(root.uid == 0)
        #expect(root.groups.contains(root.gid))
        #expect(UserIdentity(named: "no such user here") == nil)
        #expect(UserIdentity.current.uid == geteuid())
    }
}
