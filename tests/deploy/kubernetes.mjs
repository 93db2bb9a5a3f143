// Holds the documents of a YAML file against what their projects publish: the schemas that API servers validate with, as
// far as a package has them, and the types of clients, which also know every field that there is.
//
// usage: node kubernetes.mjs FILE FOLDER-WITH-node_modules; a line for each thing that is wrong, and exit code 1.

import { readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

const [file, packages] = process.argv.slice(2)
const require = createRequire(pathToFileURL(join(packages, 'here.js')))
const ts = require('typescript')
const documents = require('yaml').parseAllDocuments(readFileSync(file, 'utf8'))

const KUBEVIRT = '@kubevirt-ui-ext/kubevirt-api/kubevirt'
const CORE = 'kubernetes-models'
// For each kind: the module and the name of its type, and whether the module's class validates.
const KINDS = {
  'kubevirt.io/v1 VirtualMachine': [KUBEVIRT, 'V1VirtualMachine', false],
  'v1 Service': [`${CORE}/v1`, 'IService', 'Service'],
  'networking.k8s.io/v1 NetworkPolicy': [`${CORE}/networking.k8s.io/v1`, 'INetworkPolicy', 'NetworkPolicy'],
  'monitoring.coreos.com/v1 ServiceMonitor': [
    '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1', 'IServiceMonitor', 'ServiceMonitor'],
}

const wrong = []
// The generator of these types leaves out what may be a number or a text.
let source = `declare module '${KUBEVIRT}' { interface K8sIoApiCoreV1HTTPGetAction { port: number | string } }\n`
for (const [number, document] of documents.entries()) {
  wrong.push(...document.errors.map(String))
  const value = document.toJS()
  const kind = `${value?.apiVersion} ${value?.kind}`
  if (!KINDS[kind]) {
    wrong.push(`document ${number + 1}: ${kind} is not known here`)
    continue
  }
  const [module, type, validator] = KINDS[kind]
  // A literal: TypeScript refuses a field that the type does not have.
  source += `import type { ${type} } from '${module}'\nexport const document${number}: ${type} = ${JSON.stringify(value, null, 1)}\n`
  if (validator) {
    try {
      const models = await import(pathToFileURL(join(packages, 'node_modules', module, 'index.js')))
      new models[validator](value).validate()
    } catch (error) {
      wrong.push(`${kind}: ${error.message}`)
    }
  }
}
if (documents.length === 0) wrong.push(`${file} has no document`)

const program = join(packages, 'documents.ts')
writeFileSync(program, source)
const options = {
  noEmit: true, strict: true, skipLibCheck: true, target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler, types: [],
}
for (const { messageText, file, start } of ts.getPreEmitDiagnostics(ts.createProgram([program], options))) {
  const line = file ? file.text.slice(0, start).split('\n').length : 0
  const text = line ? source.split('\n')[line - 1].trim() : ''
  wrong.push(`${text}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`)
}
console.log([`${documents.length} documents`, ...wrong].join('\n'))
process.exit(wrong.length ? 1 : 0)
