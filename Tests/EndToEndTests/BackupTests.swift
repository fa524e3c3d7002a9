// `postern backup create` beside daemons at work: what it leaves on a full disk, in the state folder, and for the
// metrics.

import Foundation
import Glibc
import PostfixHarness
import Testing

extension EndToEnd {
    @Suite("backup") struct Backup {
        private static func archives(_ folder: String) throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix("postern-") }
        }

        @Test(
            "a backup of all daemons' state leaves nothing in the state folder but when it was, which the metrics tell")
        func traces() throws {
            let host = try DrillHost()
            #expect(try host.rcpt("192.0.2.7", from: "ann@example.net").code == 450)
            #expect(try host.send("192.0.2.200", from: "list@example.net").isPositive)
            let create = ["backup", "create", "--config", host.configurationPath, "--to", host.backups]
            let made = try host.postern(create + ["--json"])
            #expect(made.status == 0, "\(made)")
            for state in ["greylist", "facts", "limits", "dns"] { #expect(made.text.contains(#""state":"\#(state)""#)) }
            let names = try FileManager.default.contentsOfDirectory(atPath: host.state(""))
            #expect(names.contains("backup.last"))
            try Await.until("the copies to go") {
                try FileManager.default.contentsOfDirectory(atPath: host.state("")).allSatisfy {
                    !$0.hasSuffix(".backup")
                }
            }
            let page = try host.postern(["metrics", "--once", "--config", host.configurationPath])
            #expect(page.text.contains("\npostern_backup_last_success_timestamp_seconds 1"), "\(page)")
            let verified = try host.postern([
                "backup", "verify", "\(host.backups)/\(try #require(Self.archives(host.backups).first))",
            ])
            #expect(verified.status == 0, "\(verified)")
            #expect(host.troubles == [])

            // What a crash in the middle of a copy has left goes with the next start.
            try host.stop()
            try Data("half a copy".utf8).write(to: URL(filePath: host.state(".greylist.sqlite.backup")))
            let policy = try DaemonIdentity.of("postern-policy")
            chown(host.state(".greylist.sqlite.backup"), policy.user, DaemonIdentity.commonGroup)
            try host.start()
            #expect(!FileManager.default.fileExists(atPath: host.state(".greylist.sqlite.backup")))
        }

        @Test(
            "a full disk ends a backup, and leaves nothing that looks like one",
            .enabled(if: SmallDisk.isPossible, "needs root"))
        func fullDisk() throws {
            let host = try DrillHost()
            let disk = try SmallDisk(size: "64k")
            let create = ["backup", "create", "--config", host.configurationPath, "--to", disk.folder.path]
            try disk.fill()
            let full = try host.postern(create)
            #expect(full.status == 69, "\(full)")
            #expect(full.errors.contains("no room for an archive in \(disk.folder.path): about "), "\(full)")
            #expect(try FileManager.default.contentsOfDirectory(atPath: disk.folder.path) == ["filler"])
            try disk.empty()
            #expect(try host.postern(create).status == 0)
            #expect(try Self.archives(disk.folder.path).count == 1)
            try disk.remount(readOnly: true)
            let readOnly = try host.postern(create)
            #expect(readOnly.status == 69, "\(readOnly)")
            #expect(try Self.archives(disk.folder.path).count == 1)
            #expect(host.troubles == [])
        }
    }
}
