// The README's first command: contrib/try keeps its promises with the programs of this build.

import Foundation
import PostfixHarness
import Testing

extension EndToEnd {
    @Test("contrib/try shows what it promises and leaves nothing behind")
    func contribTry() throws {
        let folder = URL(filePath: try Products.path("postern")).deletingLastPathComponent().path
        let script = SourceTree.root.appending(path: "contrib/try").path
        let result = try Program.run("bash", [script], environment: ["POSTERN_BIN_DIR": folder])
        #expect(result.status == 0, "\(result.text)\n\(result.errors)")
        let promises = [
            "a=rsa-sha256", "a=ed25519-sha256", "dkim=pass", "dkim=fail", "dkim=none", "spf=pass", "dmarc=pass",
            "Postern-Disposition: quarantine (dmarc example.net)", "Postfix said: 550 5.7.26",
            "Postfix said: 554 5.7.1", "is listed by bl.example", "Postfix said: 450 4.2.0", "Postfix said: 250 2.1.5",
            "Postfix said: 450 4.7.1", "limit per account over: ann: 5 of 5 recipients in 3600s", "cleared in 1 limit",
            "Postfix said: 250 2.0.0", "0 errors, ",
        ]
        for promise in promises {
            #expect(result.text.contains(promise), "\(result.text)")
        }
        #expect(result.errors == "")
    }
}
