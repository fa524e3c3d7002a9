// The plan of a restore: what goes where, in which order, what becomes of what is there, whose it will be.

import PosternMail
import Testing

@testable import PosternAdmin

@Suite("restore: the plan") struct RestorePlanTests {
    private static let owners = RestoreOwners(
        user: { name in ["root": (0, 0), "postern-dkim": (101, 201), "postern-rate": (105, 205)][name] },
        group: { name in ["root": 0, "postern": 300, "postern-dkim": 201][name] })

    /// As the package has it.
    private static func shipped() -> [ArchivedFile] {
        var files = TestArchive.usual()
        for index in files.indices {
            (files[index].owner, files[index].group) =
                switch files[index].kind {
                case .keys: ("postern-dkim", "postern")
                case .state: ("postern-rate", "postern")
                default: ("root", "postern")
                }
        }
        return files
    }

    private static func plan(
        _ files: [ArchivedFile] = shipped(), _ places: RestorePlan.Places = .init(), owners: RestoreOwners = owners,
        found: [String: FoundFile] = [:], folders: Set<String> = ["/etc", "/var/lib"]
    ) throws -> RestorePlan {
        try RestorePlan(
            try TestArchive.manifest(files), places, owners: owners, time: "20261121T120000Z", token: "t",
            found: { path, _ in found[path] ?? .absent }, hasFolder: { folders.contains($0) })
    }

    @Test("state, keys, what the configuration names, the configuration: it never stands there before what it names")
    func order() throws {
        let plan = try Self.plan()
        #expect(
            plan.steps.map(\.target) == [
                "/var/lib/postern/dkim-keys", "/var/lib/postern/limits.journal", "/etc/postern/keys/example.org/a.pem",
                "/etc/postern/keys/example.org/b.pem", "/etc/postern/lists/friends", "/etc/postern/postern.toml",
            ])
        #expect(plan.steps.allSatisfy { $0.change == .new })
        #expect(plan.ownersOfState == [.dkim, .rate])
        #expect(Set(plan.steps.map(\.temporaryName)).count == plan.steps.count)
    }

    @Test("what is there is the same, gets other rights, or is kept under another name") func changes() throws {
        let files = Self.shipped()
        let manifest = try TestArchive.manifest(files)
        func there(_ path: String, mode: UInt32? = nil, owner: FileOwner? = nil, other: Bool = false) throws
            -> FoundFile
        {
            let entry = try #require(manifest.entries.first { $0.original == path })
            let own =
                switch entry.kind {
                case .keys: FileOwner(user: 101, group: 300)
                case .state: FileOwner(user: 105, group: 300)
                default: FileOwner(user: 0, group: 300)
                }
            return .file(
                sha256: other ? [] : entry.sha256, mode: mode ?? entry.mode, owner: owner ?? own, isSettled: true)
        }
        let rows: [(String, FoundFile, RestorePlan.Change)] = [
            ("/etc/postern/postern.toml", try there("/etc/postern/postern.toml"), .same),
            ("/etc/postern/lists/friends", try there("/etc/postern/lists/friends", mode: 0o644), .rights),
            (
                "/etc/postern/keys/example.org/a.pem",
                try there("/etc/postern/keys/example.org/a.pem", owner: FileOwner(user: 7, group: 300)), .rights
            ),
            (
                "/etc/postern/keys/example.org/b.pem", try there("/etc/postern/keys/example.org/b.pem", other: true),
                .replaced
            ),
            ("/var/lib/postern/limits.journal", .link, .replaced), ("/var/lib/postern/dkim-keys", .absent, .new),
        ]
        let plan = try Self.plan(files, found: Dictionary(uniqueKeysWithValues: rows.map { ($0.0, $0.1) }))
        for (path, _, change) in rows {
            let step = try #require(plan.steps.first { $0.target == path })
            #expect(step.change == change, "\(path)")
        }
        #expect(plan.kept.map(\.keptName) == ["limits.journal", "b.pem"].map { "\($0).replaced-20261121T120000Z" })
        #expect(!plan.isEmpty)
    }

    @Test("a database with a log beside it is not the same, whatever its own octets are") func unsettled() throws {
        var ledger = ArchivedFile.state(.greylist, [1, 2, 3])
        (ledger.owner, ledger.group) = ("postern-rate", "postern")
        let files = Self.shipped() + [ledger]
        let entry = try #require(try TestArchive.manifest(files).entries.last)
        let there = FoundFile.file(
            sha256: entry.sha256, mode: 0o600, owner: FileOwner(user: 105, group: 300), isSettled: false)
        let plan = try Self.plan(files, found: [entry.original: there])
        #expect(plan.steps.first { $0.entry.state == .greylist }?.change == .replaced)
    }

    @Test("names are kept apart: a second restore within a second takes another stamp") func stamps() throws {
        let there = FoundFile.file(sha256: [], mode: 0, owner: FileOwner(user: 0, group: 0), isSettled: true)
        let path = "/etc/postern/postern.toml"
        let plan = try Self.plan(found: [path: there, "\(path).replaced-20261121T120000Z": there])
        #expect(plan.stamp == "20261121T120000Z-2")
    }

    @Test("missing folders are made as systemd/tmpfiles.d makes them") func folders() throws {
        typealias Made = RestorePlan.Folder
        let root = FileOwner(user: 0, group: 0)
        let all = FileOwner(user: 0, group: 300)
        let dkim = FileOwner(user: 0, group: 201)
        #expect(
            try Self.plan().folders == [
                Made(path: "/etc/postern", mode: 0o750, owner: all),
                Made(path: "/etc/postern/keys", mode: 0o750, owner: dkim),
                Made(path: "/etc/postern/keys/example.org", mode: 0o750, owner: dkim),
                Made(path: "/etc/postern/lists", mode: 0o750, owner: all),
                Made(path: "/var/lib/postern", mode: 0o3770, owner: all),
            ])
        let bare = try Self.plan(folders: [])
        #expect(bare.folders.first == Made(path: "/etc", mode: 0o755, owner: root))
        #expect(bare.folders.contains(Made(path: "/var/lib", mode: 0o755, owner: root)))
        #expect(try Self.plan(folders: ["/etc", "/var/lib", "/var/lib/postern", "/etc/postern"]).folders.count == 3)
    }

    @Test("who is not root keeps everything; numbers stand for users without names")
    func owners() throws {
        var callers = Self.owners
        callers.keepsCallers = "only root may give them away"
        #expect(try Self.plan(owners: callers).steps.allSatisfy { $0.owner == nil })
        #expect(try Self.plan(owners: callers).folders.allSatisfy { $0.owner == nil })
        var file = ArchivedFile.config(TestArchive.configuration, "")
        (file.owner, file.group) = ("4711", "4712")
        #expect(try Self.plan([file]).steps.first?.owner == FileOwner(user: 4711, group: 4712))
    }

    @Test("users and groups that this machine has not are told all at once, each once") func missing() throws {
        var files = Self.shipped()
        for index in files.indices { files[index].owner = "nobody-\(index % 2)" }
        files[0].group = "strangers"
        let error = #expect(throws: RestoreObstacles.self) { try Self.plan(files) }
        #expect(error?.texts.count == 3)
        #expect(error?.texts.contains { $0.hasPrefix("this machine has no group strangers; ") } == true)
    }

    @Test("a folder where a file goes is in the way") func inTheWay() throws {
        let error = #expect(throws: RestoreObstacles.self) {
            try Self.plan(found: ["/etc/postern/postern.toml": .other])
        }
        #expect(error?.texts.first?.hasPrefix("/etc/postern/postern.toml: expected a file or nothing") == true)
    }

    @Test("another place of the configuration moves what lay below its folder, and no state") func elsewhere() throws {
        var places = RestorePlan.Places()
        places.configuration = "/opt/mail/p.toml"
        #expect(
            try Self.plan(Self.shipped(), places).steps.map(\.target) == [
                "/var/lib/postern/dkim-keys", "/var/lib/postern/limits.journal", "/opt/mail/keys/example.org/a.pem",
                "/opt/mail/keys/example.org/b.pem", "/opt/mail/lists/friends", "/opt/mail/p.toml",
            ])
        var other = ArchivedFile.config("/opt/mail/p.toml", "")
        (other.owner, other.group) = ("root", "postern")
        let error = #expect(throws: RestoreObstacles.self) { try Self.plan(Self.shipped() + [other], places) }
        #expect(error?.texts == ["/opt/mail/p.toml: expected one file there, found two"])
    }

    @Test("what the archive calls like a kept file does not take its place") func keptNames() throws {
        let kept = "/etc/postern/postern.toml.replaced-20261121T120000Z"
        for name in [kept, kept + "/inside"] {
            var other = ArchivedFile.config(name, "")
            (other.owner, other.group) = ("root", "postern")
            let plan = try Self.plan(Self.shipped() + [other], found: ["/etc/postern/postern.toml": .link])
            #expect(plan.stamp == "20261121T120000Z-2", "\(name)")
        }
        #expect(try Self.plan(found: ["/etc/postern/postern.toml": .link]).stamp == "20261121T120000Z")
    }

    @Test("another place of the configuration may make a file of a folder: it is in the way") func folderOfAFile()
        throws
    {
        var places = RestorePlan.Places()
        places.configuration = "/opt/mail/p.toml"
        var other = ArchivedFile.config("/opt/mail/lists", "")
        (other.owner, other.group) = ("root", "postern")
        let error = #expect(throws: RestoreObstacles.self) { try Self.plan(Self.shipped() + [other], places) }
        #expect(error?.texts == ["/opt/mail/lists: expected a file only, found a folder of others too"])
    }

    @Test("only the kinds that are wanted; Postfix's never") func kinds() throws {
        let postfix = ArchivedFile(
            kind: .postfix, path: "/etc/postfix/main.cf", octets: [], owner: "root", group: "root")
        for kind in RestorePlan.kinds {
            var places = RestorePlan.Places()
            places.kinds = [kind]
            let plan = try Self.plan(Self.shipped() + [postfix], places)
            #expect(!plan.steps.isEmpty && plan.steps.allSatisfy { $0.entry.kind == kind })
        }
        #expect(try !Self.plan(Self.shipped() + [postfix]).steps.contains { $0.entry.kind == .postfix })
    }
}
