// A restore as people and programs read it: what would be done or was, what is kept, what comes next.

internal import PosternDaemon
internal import PosternMail

struct RestoreReport {
    let run: RestoreRun
    /// Whether it was done.
    let isDone: Bool
    /// What `check` found there afterwards; nil where it was not asked.
    var problems: [ConfigurationProblem]?

    private var plan: RestorePlan { run.plan }

    /// The archive and what becomes of each file.
    var planText: String {
        let manifest = run.archive.manifest
        var text =
            "\(run.archive.reader.path): \(LogText.escaped(manifest.host.utf8)), made "
            + "\(BackupTime.text(manifest.created)) by Postern \(LogText.escaped(manifest.version.utf8)), whole\n"
        let rows = plan.steps.map { step in
            [
                step.change == .rights ? "owner or mode" : step.change.rawValue, step.entry.kind.rawValue,
                run.root.shown(step.target), "0" + String(step.mode, radix: 8),
                step.owner == nil ? "yours" : "\(step.entry.owner):\(step.entry.group)",
                ReportNumber.octets(step.entry.size),
            ]
        }
        text += Columns.text(rows)
        for folder in plan.folders {
            text += "the folder \(run.root.shown(folder.path)) is made, mode 0\(String(folder.mode, radix: 8))\n"
        }
        return text + "\(counts)\n"
    }

    private var counts: String {
        let words: [(RestorePlan.Change, String)] = [
            (.new, "new"), (.replaced, "replaced"), (.rights, "owner or mode only"), (.same, "the same already"),
        ]
        let parts = words.compactMap { change, word -> String? in
            let count = plan.steps.count { $0.change == change }
            return count == 0 ? nil : "\(count) \(word)"
        }
        return parts.isEmpty ? "the archive has nothing of what is wanted" : parts.joined(separator: ", ")
    }

    /// What comes behind the plan when it was carried out.
    var outcomeText: String {
        var text = "restored \(plan.steps.count { $0.change != .same }) of \(plan.steps.count) files\n"
        for step in plan.kept {
            let kept = Files.path(step.keptName, below: Files.folder(of: step.target))
            text += "kept: \(run.root.shown(kept))\n"
        }
        if let removal = run.removal { text += "when all is well, what is kept goes by: \(removal)\n" }
        if let problems {
            text += problems.isEmpty ? "the configuration there: ok\n" : ""
            for problem in problems { text += "\(problem)\n" }
        }
        if let next { text += "next: \(next)\n" }
        return text
    }

    /// What an admin does now.
    private var next: String? {
        guard run.root.isWholeSystem else { return nil }
        guard problems?.isEmpty != false else { return "mend what is told above, then `postern check`" }
        if !plan.ownersOfState.isEmpty {
            return "systemctl start postern.target, then `postern status` and `postern doctor`"
        }
        return "`postern reload`, or systemctl start postern.target where the daemons do not run; then `postern doctor`"
    }

    // MARK: JSON

    var json: JSONValue {
        let files = plan.steps.map { step -> JSONValue in
            let kept =
                step.change == .replaced ? Files.path(step.keptName, below: Files.folder(of: step.target)) : nil
            return [
                "path": .text(run.root.outside(step.target)), "kind": .text(step.entry.kind.rawValue),
                "change": .text(step.change.rawValue), "kept": .optional(kept.map(run.root.outside)),
                "owner": .optional(step.owner == nil ? nil : step.entry.owner),
                "group": .optional(step.owner == nil ? nil : step.entry.group),
                "mode": .text(String(step.mode, radix: 8)), "size": .number(step.entry.size),
            ]
        }
        let manifest = run.archive.manifest
        return [
            "archive": .text(run.archive.reader.path), "host": .text(manifest.host),
            "created": .number(Int(manifest.created.seconds)), "root": .text(run.root.path), "done": .boolean(isDone),
            "files": .list(files), "folders": .list(plan.folders.map { .text(run.root.outside($0.path)) }),
            "problems": problems.map { .list($0.map { .text("\($0)") }) } ?? .null,
        ]
    }
}
